"""Protocols: each gives windows as it says, lets no length or later trial in, and passes every guard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data.catalogue import open_data
from models.data.guards import LeakError, Learnt, divide
from models.data.population import population_fallback
from models.data.protocols import require_bundle, windows_of
from models.data.recorded import Sitting, Stretch, Track, Trial
from models.data.segments import restarted, window_points
from models.data.settings import DataSettings
from models.data.splits import k_fold, official
from models.data.streams import label_by_share
from models.data.traced import TracedSet
from monitor import dsp
from monitor.bundle import default_input
from monitor.calibration import input_key
from monitor.errors import SourceError
from tests.helpers.made_sittings import RATE_HZ, continuous_sitting, cut_sitting, data_of
from tests.helpers.pain_data import ai4pain_2026_columns, write_ai4pain

CARRIED = (default_input("EDA", rate_hz=4.0, samples=20),)
INPUTS = restarted(CARRIED)
PEOPLE = ("a", "b", "c", "d")


def _paper(*sittings: Sitting, seconds: float = 5.0, **more: object) -> TracedSet:
    return windows_of(data_of("xdf", sittings), "paper", INPUTS, seconds=seconds, **more)  # type: ignore[arg-type]


def _segments(*sittings: Sitting, **more: object) -> TracedSet:
    return windows_of(data_of("biovid-a", sittings), "live-segment", INPUTS, **more)  # type: ignore[arg-type]


def _streams(*sittings: Sitting, kind: str = "pmed", inputs: tuple = INPUTS) -> TracedSet:
    return windows_of(data_of(kind, sittings), "live-stream", inputs)


# -- paper -------------------------------------------------------------------------------------------------------------


def test_paper_scales_by_median_and_iqr_of_the_whole_sitting() -> None:
    everything = cut_sitting("a", 1, calibration=0)
    traced = _paper(everything)

    values = traced.windows.inputs["eda"]
    assert values.shape == (12, 1, 20)
    lower, middle, upper = np.percentile(values, [25, 50, 75])
    assert middle == pytest.approx(0.0, abs=1e-4)
    assert upper - lower == pytest.approx(1.0, abs=1e-4)
    assert np.bincount(traced.windows.labels).tolist() == [4, 4, 4]
    assert not traced.may_become_bundle
    with pytest.raises(SourceError, match="cannot become a bundle"):
        require_bundle(traced.protocol)


def test_a_constant_signal_becomes_zeros() -> None:
    traced = _paper(cut_sitting("a", 1, change=lambda _, samples: np.full_like(samples, 96.0)))

    assert np.array_equal(traced.windows.inputs["eda"], np.zeros_like(traced.windows.inputs["eda"]))


@pytest.mark.parametrize("protocol", ["paper", "live-segment"])
def test_the_length_of_a_class_leaves_no_trace(protocol: str) -> None:
    """Longer cuts of a class that end in the same samples give the same windows."""
    short = cut_sitting("a", 1)
    longer = cut_sitting(
        "a", 1, change=lambda name, s: np.concatenate([s[:40][::-1], s]) if int(name[2:]) % 3 == 0 else s
    )
    make = _paper if protocol == "paper" else _segments

    plain, stretched = make(short), make(longer)

    for traced in (plain, stretched):
        assert np.ptp(traced.seconds) < 1e-9
    if protocol == "paper":
        assert np.array_equal(plain.windows.inputs["eda"], stretched.windows.inputs["eda"])
    assert np.array_equal(plain.windows.labels, stretched.windows.labels)


def test_cuts_that_are_too_short_are_left_out_and_classes_stay_even() -> None:
    traced = _paper(cut_sitting("a", 1, change=lambda name, s: s[:60] if name == "a-4" else s))

    assert any("shorter than 5 s" in oddity.what and "a-4" in oddity.where for oddity in traced.left_out)
    assert np.bincount(traced.windows.labels).tolist() == [3, 3, 3]


# -- live-segment ------------------------------------------------------------------------------------------------------


def test_calibration_segments_scale_and_are_never_windows() -> None:
    sitting = cut_sitting("a", 1)
    traced = _segments(sitting)

    statistic = traced.statistics[0]
    assert {span.recording for span in statistic.spans} == {f"a/{i}:a-{i}" for i in range(3)}
    assert not set(traced.recordings) & {span.recording for span in statistic.spans}
    assert np.bincount(traced.windows.labels).tolist() == [4, 4, 4]
    assert traced.may_become_bundle
    assert traced.windows.calibrated.all()


def test_a_live_window_knows_nothing_of_the_other_windows() -> None:
    def shifted(name: str, samples: np.ndarray) -> np.ndarray:
        return samples * 3.0 if name == "a-14" else samples

    plain, changed = _segments(cut_sitting("a", 1)), _segments(cut_sitting("a", 1, change=shifted))

    same = np.all(plain.windows.inputs["eda"] == changed.windows.inputs["eda"], axis=(1, 2))
    assert same.sum() == len(same) - 1


def test_too_little_calibration_leaves_the_person_out() -> None:
    traced = _segments(cut_sitting("a", 1), cut_sitting("b", 2, calibration=1))

    assert set(traced.windows.subjects) == {"a"}
    assert any("to calibrate on" in oddity.what and oddity.where == "b" for oddity in traced.left_out)


def test_what_the_quality_gate_refuses_is_no_window() -> None:
    traced = _segments(cut_sitting("a", 1, change=lambda name, s: np.full_like(s, np.nan) if name == "a-5" else s))

    assert np.bincount(traced.windows.labels).tolist() == [3, 3, 3]
    assert any("a-5" in oddity.where for oddity in traced.left_out)


def test_a_carried_filter_is_refused_for_cuts() -> None:
    with pytest.raises(ValueError, match="carried"):
        windows_of(data_of("biovid-a", [cut_sitting("a", 1)]), "live-segment", CARRIED)


def test_the_draw_depends_on_the_seed_and_not_on_who_else_is_there() -> None:
    many = [cut_sitting(s, i, per_class=6, calibration=5) for i, s in enumerate(PEOPLE[:2])]
    uneven = [Sitting(**{**{f: getattr(s, f) for f in s.__dataclass_fields__}, "trials": s.trials[:-7]}) for s in many]

    together, alone = _paper(*uneven, seed=1), _paper(uneven[1], seed=1)
    other = _paper(uneven[1], seed=2)

    mine = together.windows.subjects == "b"
    assert together.recordings[mine].tolist() == alone.recordings.tolist()
    assert alone.recordings.tolist() != other.recordings.tolist()


# -- live-stream -------------------------------------------------------------------------------------------------------


def test_a_stream_gives_what_the_pipeline_gives_and_a_cut_of_it_the_same() -> None:
    """One path cuts arrays, the other is the pipeline: with filters that start afresh they agree bit for bit."""
    sitting = continuous_sitting("a", 3)
    traced = _streams(sitting)
    samples = sitting.stretches[0].tracks["Eda"].samples
    times = np.arange(len(samples)) / RATE_HZ
    item = INPUTS[0]
    baseline = dsp.Baseline(
        **dict(zip(("center", "spread", "range"), traced.statistics[0].values[input_key(item)], strict=True))
    )

    assert len(traced) > 20
    for number, t_end in enumerate(traced.windows.t_end):
        instants = dsp.grid(float(t_end), samples=item.samples, rate_hz=item.rate_hz)
        points = window_points(times, samples, item, instants, RATE_HZ)
        assert not isinstance(points, str)
        assert np.array_equal(dsp.scale(points, item.scale, baseline), traced.windows.inputs["eda"][number])


@pytest.mark.parametrize("inputs", [INPUTS, CARRIED])
def test_streams_are_calibrated_before_the_first_stimulus_and_no_window_reaches_back(inputs: tuple) -> None:
    traced = _streams(continuous_sitting("a", 3), inputs=inputs)

    (statistic,) = traced.statistics
    assert 30.0 <= statistic.spans[0].stop_s <= 50.0
    assert traced.start_s.min() >= statistic.spans[0].stop_s
    assert set(traced.windows.labels) >= {0, 1, 2}
    at = dict(zip(traced.windows.t_end.tolist(), traced.windows.labels.tolist(), strict=True))
    assert (at[58.0], at[83.0], at[72.0], at[53.0]) == (2, 1, 0, -1)


def test_less_than_30_s_before_the_first_stimulus_leaves_a_sitting_out() -> None:
    early = continuous_sitting("b", 4, stimuli=((20.0, 30.0, 2), (60.0, 70.0, 1)))

    def broken(samples: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(samples)) < 25 * RATE_HZ, np.nan, samples).astype(np.float32)

    gone = continuous_sitting("c", 5, change=broken)
    traced = _streams(continuous_sitting("a", 3), early, gone)

    assert set(traced.windows.subjects) == {"a"}
    assert [o.where for o in traced.left_out if "before the first stimulus" in o.what] == ["b", "c"]


def test_what_was_set_aside_calibrates_a_stream_and_nothing_after_it_does() -> None:
    """PMCD's run-up, or AI4PAIN's first baseline, though more time without pain follows."""

    def bent(samples: np.ndarray) -> np.ndarray:
        changed = samples.copy()
        changed[round(36 * RATE_HZ) : round(48 * RATE_HZ)] += 2.0
        return changed

    aside = Trial(name="run-up", label=0, start_s=0.0, seconds=35.0, calibration=True)
    found = []
    for change in (None, bent):
        sitting = continuous_sitting("a", 3, change=change)
        marked = replace(sitting, trials=(aside, *sitting.trials))
        found.append([_streams(one).statistics[0].values for one in (sitting, marked)])

    (plain, kept), (other, kept_again) = found
    assert kept == kept_again
    assert plain != other


def test_what_comes_after_a_window_never_changes_it() -> None:
    def later(samples: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(samples)) >= 80 * RATE_HZ, samples + 1, samples).astype(np.float32)

    plain, changed = (_streams(continuous_sitting("a", 3, change=c), inputs=CARRIED) for c in (None, later))

    before = plain.windows.t_end < 80.0
    assert before.sum() > 10
    assert np.array_equal(
        plain.windows.inputs["eda"][before], changed.windows.inputs["eda"][changed.windows.t_end < 80.0]
    )


@pytest.mark.parametrize(
    ("t_end", "silence", "expected"),
    [
        (13.4, True, -1),  # 2.4 of 5 s lie after onset + 1 s
        (13.5, True, 2),
        (24.5, True, 2),
        (24.6, True, -1),
        (26.4, True, -1),
        (26.6, True, 0),
        (26.6, False, -1),
        (45.0, False, 0),
        (55.0, True, -1),
        (64.5, True, 3),  # half of each: the stronger
    ],
)
def test_the_label_rule(t_end: float, silence: bool, expected: int) -> None:
    trials = [(10.0, 20.0, 2), (38.0, 45.0, 0), (50.0, 53.0, None), (59.0, 60.0, 1), (61.0, 64.0, 3)]

    assert label_by_share(np.array([t_end]), 5.0, trials, silence_is_rest=silence).tolist() == [expected]


def _in_columns(sitting: Sitting, *, step: float) -> Sitting:
    """A continuous sitting as columns of 10 s, each `step` uS above the one before; the stimuli are columns."""
    samples = sitting.stretches[0].tracks["Eda"].samples
    size = round(10 * RATE_HZ)
    count = len(samples) // size
    stretches = [
        Stretch(name=str(i), tracks={"Eda": Track(samples=samples[i * size : (i + 1) * size] + np.float32(i * step))})
        for i in range(count)
    ]
    classes = {count // 2: 2, count // 2 + 2: 1}
    trials = [Trial(name=str(i), label=classes.get(i, 0), stretch=i) for i in range(count)]
    return replace(sitting, stretches=tuple(stretches), trials=tuple(trials))


def test_columns_whose_seams_fit_are_one_stream_again() -> None:
    whole = continuous_sitting("a", 3, stimuli=((50.0, 60.0, 2), (70.0, 80.0, 1)))
    traced, joined = _streams(whole), _streams(_in_columns(whole, step=0.0), kind="ai4pain-2025")

    assert joined.windows.t_end.tolist() == traced.windows.t_end.tolist()
    assert np.array_equal(joined.windows.inputs["eda"], traced.windows.inputs["eda"])
    assert joined.windows.labels.tolist() == traced.windows.labels.tolist()


@pytest.mark.parametrize(("kind", "step"), [("ai4pain-2025", 0.5), ("xdf", 0.0)])
def test_columns_that_do_not_fit_or_may_not_be_joined_have_gaps_that_no_window_spans(kind: str, step: float) -> None:
    sitting = _in_columns(continuous_sitting("a", 3, seconds=180.0), step=step)
    traced = _streams(sitting, kind=kind, inputs=CARRIED)

    column = 12.0  # 10 s and a gap of 2 s
    assert len(traced) > 20
    assert np.all(traced.start_s // column == (traced.stop_s - 1 / RATE_HZ) // column)
    assert np.all(traced.stop_s % column <= 10.0)


def test_rest_alone_may_be_calibrated_and_has_windows() -> None:
    rest = continuous_sitting("b", 4, stimuli=())
    traced = _streams(continuous_sitting("a", 3), rest)

    mine = traced.windows.of(["b"])
    assert len(mine) > 0
    assert set(mine.labels) <= {0}


# -- all ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["paper", "live-segment", "live-stream"])
def test_what_a_protocol_gives_passes_every_guard(protocol: str) -> None:
    if protocol == "live-stream":
        traced = _streams(*[continuous_sitting(s, i) for i, s in enumerate(PEOPLE)])
    else:
        make = _paper if protocol == "paper" else _segments
        traced = make(*[cut_sitting(s, i) for i, s in enumerate(PEOPLE)])

    for split in k_fold(PEOPLE, 4, seed=0):
        parts = divide(traced, split)
        weights = Learnt(name="weights", kind="weights", subjects=frozenset(split.train))
        assert set(parts.open_test([weights]).subjects) == set(split.test)


def test_a_person_who_is_there_twice_under_two_names_is_caught() -> None:
    twice = cut_sitting("a", 1)
    other = replace(twice, subject="z")
    traced = _paper(twice, other, *[cut_sitting(s, i) for i, s in enumerate(("b", "c"), start=5)])

    caught = 0
    for split in k_fold(("a", "z", "b", "c"), 4, seed=0):
        with pytest.raises(LeakError) as error:
            divide(traced, split)
        assert (error.value.kind, error.value.subjects) == ("recording", ("a", "z"))
        caught += 1
    assert caught == 4


def test_the_population_is_that_of_the_subjects_who_are_named() -> None:
    traced = _segments(*[cut_sitting(s, i) for i, s in enumerate(PEOPLE)])

    (item,), learnt = population_fallback(traced, ["a", "c"])

    expected = np.median([next(iter(s.values.values())) for s in traced.statistics if s.subjects & {"a", "c"}], axis=0)
    assert item.scale.fallback == pytest.approx({"center": expected[0], "spread": expected[1]}, rel=1e-3)
    assert learnt.subjects == {"a", "c"}
    with pytest.raises(ValueError, match="no subject has a baseline"):
        population_fallback(traced, ["nobody"])
    with pytest.raises(ValueError, match="paper"):
        population_fallback(_paper(cut_sitting("a", 1)), ["a"])


def test_pmcd_takes_its_windows_without_pain_from_the_run_up_alone_as_its_article_does() -> None:
    sitting = cut_sitting("a", 1)
    groups = ["run-up" if t.calibration else f"rated {t.label}" for t in sitting.trials]
    rated = replace(sitting, trials=tuple(replace(t, group=g) for t, g in zip(sitting.trials, groups, strict=True)))

    traced = windows_of(data_of("pmcd", [rated]), "paper", INPUTS)

    free = set(traced.recordings[traced.windows.labels == 0])
    assert free == {f"a/{i}:a-{i}" for i in range(3)}


def test_classes_may_be_chosen() -> None:
    traced = _paper(cut_sitting("a", 1), classes={0: 0, 2: 1})

    assert np.bincount(traced.windows.labels).tolist() == [4, 4]


def test_a_folder_as_it_is_published_becomes_the_official_parts(tmp_path: Path) -> None:
    for part, subject in (("train", "1"), ("train", "2"), ("train", "4"), ("validation", "7")):
        write_ai4pain(tmp_path, part, subject, ai4pain_2026_columns(subject), signals=("Eda",))
    write_ai4pain(tmp_path, "test", "3", {f"3_{i}": 1022 for i in range(36)}, signals=("Eda",))
    data = open_data(
        DataSettings(kind="ai4pain-2026", path=str(tmp_path), cache=str(tmp_path / "cache"), modalities=("EDA",))
    )

    traced = windows_of(data, "live-segment", restarted([default_input("EDA")]))
    parts = divide(traced, official(data, seed=0))

    test = parts.open_test([Learnt(name="weights", kind="weights", subjects=frozenset(parts.subjects["train"]))])
    assert set(test.subjects) == {"7"}
    assert np.bincount(test.labels).tolist() == [6, 6, 6]
    assert not {"3", "7"} & {*parts.train.subjects, *parts.validation.subjects, *parts.calibration.subjects}


def test_an_own_recording_is_calibrated_before_its_first_stimulus() -> None:
    sitting = continuous_sitting("a", 3, stimuli=((50.0, 60.0, 2), (62.0, 72.0, 0), (75.0, 85.0, 1), (20.0, 30.0, 0)))
    traced = windows_of(data_of("xdf", [replace(sitting, facts={"first_stimulus_s": 50.0})]), "live-segment", INPUTS)

    assert traced.windows.labels.tolist() == [2, 0, 1]  # the rest at 20 s lies in the calibration
    assert max(span.stop_s for span in traced.statistics[0].spans) <= 50.0


def test_what_data_cannot_support_is_said() -> None:
    data = data_of("biovid-a", [cut_sitting("a", 1)], {"live-stream": "it comes cut"})
    with pytest.raises(SourceError, match="it comes cut"):
        windows_of(data, "live-stream", INPUTS)
    with pytest.raises(SourceError, match="no BVP"):
        windows_of(data, "live-segment", restarted([default_input("BVP")]))
    fast = INPUTS[0].model_copy(update={"min_rate_hz": 100.0})
    with pytest.raises(SourceError, match="16 Hz"):
        windows_of(data, "live-segment", (fast,))
    with pytest.raises(SourceError, match="no window of none, mild, severe; 1 times: 5 s of valid"):
        _segments(cut_sitting("a", 1, calibration=1))
    with pytest.raises(SourceError, match="how long is a trial"):
        windows_of(data_of("xdf", [cut_sitting("a", 1)]), "paper", INPUTS)
