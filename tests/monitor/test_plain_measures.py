"""Plain measures as a part of the flow: one set a window, the same however samples came, nothing bridged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.types import Chunk, Command, Comparators, Event, Float32Array, PainIndex, Score
from tests.helpers.feeding import chunks, line, make_pipeline, run, stream
from tests.helpers.tiny_bundle import write_tiny_bundle

SECONDS = 60
RATES_HZ = {"ECG": 256.0, "EDA": 32.0, "BVP": 64.0}
ALL = ("EDA", "ECG", "BVP")
LAG_S = 5.0
"""Streams that no window waits for are taken so far back."""


class Specs(dict[str, BundleSpec]):
    """Bundles by short name, shown as a line."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


class Sets(list[Comparators]):
    """Compared as a list, shown as a line."""

    def __repr__(self) -> str:
        return f"<{len(self)} sets>"


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Specs:
    folder = tmp_path_factory.mktemp("bundles")
    kinds: Mapping[str, tuple[str, ...]] = {"ecg": ("EDA", "ECG"), "bvp": ("EDA", "BVP"), "eda": ("EDA",)}
    return Specs(
        {
            name: load_bundle(write_tiny_bundle(folder, name=f"tiny-{name}", modalities=modalities)).spec
            for name, modalities in kinds.items()
        }
    )


@lru_cache(maxsize=1)
def _signals() -> dict[str, Float32Array]:
    patient = SyntheticPatient(part="test", number=3, episodes=[], confounders=[], rates_hz=RATES_HZ)
    return {m: patient.samples(m, 0, int(SECONDS * rate)) for m, rate in RATES_HZ.items()}


def _log(
    sizes: float | Mapping[str, Any] = 0.1,
    *,
    skew: Mapping[str, float] | None = None,
    without: Mapping[str, tuple[float, float]] | None = None,
) -> list[Chunk]:
    """Chunks of all signals; `without` leaves out a span of a stream, in seconds."""
    log: list[Chunk] = []
    for modality in ALL:
        rate, samples = RATES_HZ[modality], _signals()[modality]
        stamps = line(rate, len(samples))
        keep = np.ones(len(stamps), dtype=bool)
        if without and modality in without:
            start, end = without[modality]
            keep = (stamps < start) | (stamps >= end)
        size = max(1, round(sizes * rate)) if isinstance(sizes, float) else sizes[modality]
        log += chunks(modality, samples[keep], stamps[keep], size, delay_s=(skew or {}).get(modality, 0.0))
    return log


def _streams() -> list[Any]:
    return [stream(modality, RATES_HZ[modality]) for modality in ALL]


def measured(spec: BundleSpec, log: list[Chunk], **bed: Any) -> Sets:
    """The sets of all windows that end within the signal."""
    pipeline, _ = make_pipeline([spec], **bed)
    events = run(pipeline, _streams(), log, until=SECONDS + 5.0)
    return Sets(event for event in events if isinstance(event, Comparators) and event.t_rel < SECONDS)


@pytest.fixture(scope="module")
def plain(specs: Specs) -> dict[str, Sets]:
    """What chunks of 0.1 s give, by bundle."""
    return {name: measured(spec, _log()) for name, spec in specs.items()}


def test_every_window_has_one_set_right_behind_its_index(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    events: list[Event] = run(pipeline, _streams(), _log(), until=SECONDS + 5.0)
    order = [event for event in events if isinstance(event, (Score, PainIndex, Comparators))]
    kinds = [type(event).__name__ for event in order]
    assert kinds == ["Score", "PainIndex", "Comparators"] * (len(kinds) // 3)
    assert all(a.k == b.k == c.k for a, b, c in zip(order[::3], order[1::3], order[2::3], strict=True))


@pytest.mark.parametrize("bundle", ["ecg", "bvp", "eda"])
def test_all_are_told_whatever_the_model_reads(plain: dict[str, Sets], bundle: str) -> None:
    last = plain[bundle][-1]
    assert last.heart_rate_from == "ECG"
    assert last.heart_rate_bpm == pytest.approx(np.median([s[-1].heart_rate_bpm for s in plain.values()]), rel=0.1)
    assert last.scr_per_s is not None
    assert 0.0 <= last.scr_per_s < 0.5
    assert last.spi is not None
    assert 0.0 <= last.spi <= 100.0
    assert (last.heart_rate_absent, last.scr_absent, last.spi_absent) == ((), (), ())


@pytest.mark.parametrize("bundle", ["ecg", "bvp", "eda"])
def test_what_is_not_told_says_why(plain: dict[str, Sets], bundle: str) -> None:
    for item in plain[bundle]:
        assert bool(item.heart_rate_absent) == (item.heart_rate_bpm is None)
        assert bool(item.scr_absent) == (item.scr_per_s is None)
        assert bool(item.spi_absent) == (item.spi is None)
    first = plain[bundle][1]
    assert set(first.scr_absent) == {"EDA:starting"}
    assert {"BVP:not_calibrated"} in [set(item.spi_absent) for item in plain[bundle]]


def test_without_a_stream_there_is_no_measure_and_that_is_said(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["eda"]])
    eda = [chunk for chunk in _log() if chunk.stream == "EDA"]
    events = run(pipeline, _streams()[:1], eda)
    last = [event for event in events if isinstance(event, Comparators)][-1]
    assert last.heart_rate_absent == ("ECG:no_stream", "BVP:no_stream")
    assert last.spi_absent == ("BVP:no_stream",)
    assert last.scr_per_s is not None


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    sizes=st.fixed_dictionaries(
        {m: st.lists(st.integers(1, int(1.4 * rate)), min_size=1, max_size=6) for m, rate in RATES_HZ.items()}
    ),
    skew=st.floats(0.0, 0.5),
    bundle=st.sampled_from(["ecg", "bvp", "eda"]),
)
def test_chunks_and_skew_change_no_measure(
    specs: Specs, plain: dict[str, Sets], sizes: dict[str, list[int]], skew: float, bundle: str
) -> None:
    def cycle(given: list[int]) -> Iterator[int]:
        while True:
            yield from given

    log = _log({m: cycle(given) for m, given in sizes.items()}, skew={"EDA": skew, "BVP": 0.5 - skew})
    assert measured(specs[bundle], log) == plain[bundle]


@pytest.mark.parametrize("bundle", ["ecg", "eda"])
def test_a_gap_begins_the_count_of_responses_anew(specs: Specs, bundle: str) -> None:
    found = measured(specs[bundle], _log(without={"EDA": (30.0, 32.0)}))
    told = {item.k: item.scr_per_s is not None for item in found}
    assert told[29]
    assert not any(told[k] for k in range(31, 52))  # 20 s of signal without a gap make a rate
    assert told[54]
    assert all(item.scr_absent for item in found if not told[item.k])


def test_a_sample_that_is_no_number_begins_it_anew_too(specs: Specs) -> None:
    log = _log()
    bad = next(i for i, chunk in enumerate(log) if chunk.stream == "EDA" and chunk.stamps[0] >= 30.0)
    spoilt = log[bad].samples.copy()
    spoilt[0] = np.nan
    log[bad] = Chunk(stream="EDA", samples=spoilt, stamps=log[bad].stamps.copy(), arrival=log[bad].arrival)
    told = {item.k: item.scr_per_s is not None for item in measured(specs["ecg"], log)}
    assert told[29]
    assert not any(told[k] for k in range(32, 50))
    assert told[52]


@pytest.mark.parametrize(("bundle", "lag"), [("bvp", 0.0), ("ecg", LAG_S)])
def test_a_gap_in_the_pulse_withholds_the_index_and_no_longer_than_it_must(
    specs: Specs, bundle: str, lag: float
) -> None:
    found = measured(specs[bundle], _log(without={"BVP": (35.0, 36.0)}))
    told = {item.k: item.spi is not None for item in found}
    assert told[34]
    assert not any(told[k] for k in range(37 + int(lag), 40 + int(lag)))
    assert any(told[k] for k in range(42 + int(lag), 58))
    assert {"BVP:gap"} in [set(item.spi_absent) for item in found]


def test_a_recalibration_takes_the_pulse_reference_anew(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["bvp"]])
    log = sorted(_log(), key=lambda chunk: chunk.arrival)
    events: list[Event] = [event for info in _streams() for event in pipeline.open_stream(info, 0.0)]
    asked = False
    for chunk in log:
        if chunk.arrival >= 45.0 and not asked:
            asked = True
            events += pipeline.command(Command(action="recalibrate", at=45.0, actor="nurse"))
        events += pipeline.feed(chunk)
    told = {e.k: e.spi_absent for e in events if isinstance(e, Comparators)}
    assert told[44] == ()
    assert told[50] == ("BVP:not_calibrated",)
