"""What a window costs is measured, and beds whose models could not keep up are refused before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from monitor.bundle import FilterSpec, InputSpec, ScaleSpec
from monitor.bundle_folder import load_bundle
from monitor.config import BedSettings, Settings
from monitor.engine import wiring
from monitor.engine.load import SHARE, WATCHDOG_SHARE, measure, outlasts, overloads, smallest_hop_s
from monitor.errors import ConfigError
from monitor.images.spec import WaveformRender
from monitor.scoring.scorer import RawScore
from monitor.types import Float32Array
from tests.helpers.tiny_bundle import write_tiny_bundle


def beds(*hops: float, bundles: tuple[str, ...] = ("a",)) -> list[BedSettings]:
    return [BedSettings(name=f"bed{i}", hop_s=hop, bundles=bundles) for i, hop in enumerate(hops)]


class Counting:
    """A runner that takes 0.1 s, then 0.3, 0.2, 0.4 on the test's clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: list[Mapping[str, Float32Array]] = []
        self._takes = itertools.cycle([0.1, 0.3, 0.2, 0.4])

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        assert bundle
        self.seen.append(inputs)
        self.now += next(self._takes)
        return RawScore(logits=np.zeros(3, np.float32), features=np.zeros(3, np.float32))

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        raise AssertionError((bundle, inputs))


def test_the_median_of_three_after_the_first_counts_and_images_are_drawn(tmp_path: Path) -> None:
    image = InputSpec(
        name="wave",
        modality="EDA",
        unit="uS",
        min_rate_hz=4.0,
        filter=FilterSpec(high_hz=1.5),
        rate_hz=25.0,
        samples=250,
        scale=ScaleSpec(center="none", spread="none", floor=0.0),
        render=WaveformRender(kind="waveform", size=32),
    )
    array = image.model_copy(
        update={
            "name": "regions",
            "modality": "ARRAY:regions",
            "channels": 5,
            "render": None,
            "filter": FilterSpec(kind="none"),
        }
    )
    bundle = load_bundle(write_tiny_bundle(tmp_path, inputs=[image, array]))
    runner = Counting()
    assert measure(bundle, runner, clock=lambda: runner.now) == pytest.approx(0.3)
    assert [{name: values.shape for name, values in inputs.items()} for inputs in runner.seen] == 4 * [
        {"wave": (3, 32, 32), "regions": (5, 250)}
    ]
    assert 0 < measure(bundle) < 60.0  # the real graph, opened for it


@pytest.mark.parametrize(("ms", "hop"), [(0.1, 0.25), (62.5, 0.25), (63, 0.5), (250, 1.0), (251, 1.25), (1200, 5.0)])
def test_the_smallest_hop_is_four_windows_in_quarters_of_a_second(ms: float, hop: float) -> None:
    assert smallest_hop_s(ms / 1000) == hop
    assert hop * SHARE >= ms / 1000
    assert not overloads(beds(hop), {"a": ms / 1000})


def test_a_hop_that_is_too_short_is_named_with_bundle_time_and_what_would_do() -> None:
    (problem,) = overloads(beds(1.0, bundles=("quick", "slow")), {"quick": 0.01, "slow": 0.31})
    assert str(problem) == (
        "bed[0].hop_s: 1 s is too short for slow, whose windows take 310 ms here (hop_s = 1.25 or more)"
    )


def test_beds_that_are_each_slow_enough_may_be_too_many_together() -> None:
    assert not overloads(beds(1.0, 1.0), {"a": 0.12})
    (problem,) = overloads(beds(1.0, 1.0, 2.0), {"a": 0.12})
    assert "the models of 3 beds take 30 % of the time" in str(problem)
    assert "bed0: hop_s = 1.25, bed1: hop_s = 1.25, bed2: hop_s = 2.5" in str(problem)
    assert not overloads(beds(1.25, 1.25, 2.5), {"a": 0.12})


@pytest.mark.parametrize("watchdog_s", [2.0, 6.0, 300.0])
def test_a_model_that_the_watchdog_would_end_is_refused(watchdog_s: float) -> None:
    most = WATCHDOG_SHARE * watchdog_s
    some = beds(60.0, 60.0, bundles=("quick", "slow"))
    assert not outlasts(some, {"quick": 0.01, "slow": most}, watchdog_s=watchdog_s)
    (problem,) = outlasts(some, {"quick": 0.01, "slow": most + 0.1}, watchdog_s=watchdog_s)
    assert problem.key == "engine.watchdog_s"
    assert f"{watchdog_s:g} s is too short: slow takes {most + 0.1:.1f} s a window here" in str(problem)
    raised = f"watchdog_s = {watchdog_s + 1:g} or more, or "
    assert (raised in str(problem)) == (watchdog_s < 300)  # what could not be set is not advised
    voting = [bed.model_copy(update={"vote": "any"}) for bed in some]
    (problem,) = outlasts(voting, {"quick": 0.2, "slow": most}, watchdog_s=watchdog_s)
    assert "the 2 bundles of bed0 together take" in str(problem) or "of bed1 together" in str(problem)


def test_an_engine_whose_model_the_watchdog_would_end_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_tiny_bundle(tmp_path))
    monkeypatch.setattr(wiring, "measure", lambda *_, **__: 3.5)
    with pytest.raises(ConfigError, match=r"engine\.watchdog_s: 6 s is too short.*watchdog_s = 7 or more"):
        wiring.load_models(Settings(bed=tuple(beds(60.0, bundles=(path,)))))


def test_the_engine_does_not_start_with_a_hop_that_is_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_tiny_bundle(tmp_path))
    settings = Settings(bed=tuple(beds(0.25, bundles=(path,))))
    monkeypatch.setattr(wiring, "measure", lambda *_, **__: 0.06)
    assert wiring.load_models(settings).bundles["bed0"]
    monkeypatch.setattr(wiring, "measure", lambda *_, **__: 0.2)
    with pytest.raises(ConfigError, match=r"windows take 200 ms here \(hop_s = 1 or more\)"):
        wiring.load_models(settings)
