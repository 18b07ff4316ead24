"""Windows that the model is not believed on: they bear no class, no index and no alarm, and everything says so."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from export.folder import write_folder
from monitor.alarm.manager import AlarmOutput
from monitor.bundle import AbstainSpec, BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.cli.lines import JsonLines, ScoreLines
from monitor.config import BedSettings
from monitor.errors import BundleError
from monitor.feature_space import FEATURES_NPZ, FeatureSpace, read_feature_space
from monitor.outputs.fhir import Mapper
from monitor.outputs.lsl import MODEL, score_channels, score_row
from monitor.outputs.mqtt_messages import score_message
from monitor.pipeline import Pipeline
from monitor.scoring.index import IndexTracker
from monitor.scoring.scorer import RawScore, normalised_entropy, uncertainty
from monitor.scoring.session import OnnxRunner
from monitor.sessions.export import export
from monitor.sessions.reader import SessionReader
from monitor.sessions.store import SessionWriter, StoredBundle
from monitor.sessions.verify import verify
from monitor.types import AlarmEvent, AlarmKind, Float32Array, PainIndex, Presence, Score
from tests.helpers.alarm_windows import SESSION, brief, manager, window
from tests.helpers.driven_session import made_steps, record
from tests.helpers.feeding import LinearRunner, chunks, line, make_pipeline, run, scores, stream
from tests.helpers.made_session import SESSION as MADE_SESSION
from tests.helpers.made_session import made_meta
from tests.helpers.tiny_bundle import HIDDEN, write_tiny_bundle

UNLIKE = ("uncertain:unlike_training",)
D = 2 * HIDDEN


def arrays(*, seed: int = 0, k: int = 3, d: int = D, centres: int = 3) -> dict[str, Float32Array]:
    """A space in which distances differ between windows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    root = rng.standard_normal((k, k))
    found = {
        "components": rng.standard_normal((k, d)),
        "mean": 0.1 * rng.standard_normal(d),
        "centres": rng.standard_normal((centres, k)),
        "precision": root @ root.T + np.eye(k),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def packed(content: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **content)
    return file.getvalue()


def rewrite(folder: Path, *, features: bytes | None, **abstain: float) -> Path:
    """The bundle with limits, and features.npz where it has one."""
    spec = json.loads((folder / "model.json").read_text())
    names = [name for name in spec.pop("sha256") if name != "model.json"]
    spec["calibration"]["abstain"] = abstain or None
    files = {name: (folder / name).read_bytes() for name in names if name != FEATURES_NPZ}
    if features is not None:
        files[FEATURES_NPZ] = features
    return write_folder(spec=spec, files=files, out=folder).path


# The distance -------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), k=st.integers(1, 32), centres=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_the_distance_is_that_of_the_nearest_centre(seed: int, k: int, centres: int) -> None:
    content = arrays(seed=seed, k=k, centres=centres)
    space = FeatureSpace(**{name: values.astype(np.float64) for name, values in content.items()})
    features = np.random.Generator(np.random.PCG64(seed + 1)).standard_normal(D).astype(np.float32)
    z = space.components @ (features.astype(np.float64) - space.mean)
    expected = min(float((z - c) @ space.precision @ (z - c)) for c in space.centres)
    assert space.distance(features) == pytest.approx(expected, rel=1e-9)
    assert space.distance(features) == space.distance(features.copy())
    assert math.isnan(space.distance(np.full(D, np.nan, np.float32)))


def test_a_window_at_a_centre_has_no_distance() -> None:
    content = arrays(k=D) | {"components": np.eye(D, dtype=np.float32), "mean": np.zeros(D, np.float32)}
    space = FeatureSpace(**{name: values.astype(np.float64) for name, values in content.items()})
    assert space.distance(content["centres"][1]) == 0.0


def damaged(what: str) -> bytes:
    good = arrays()
    match what:
        case "cut":
            return packed(good)[:-200]
        case "text":
            return b"these are no arrays"
        case "pickle":
            return packed(good | {"mean": np.array([{"a": 1}], dtype=object)})
        case "missing":
            return packed({name: values for name, values in good.items() if name != "centres"})
        case "more":
            return packed(good | {"covariance": good["precision"]})
        case "float64":
            return packed(good | {"mean": good["mean"].astype(np.float64)})
        case "shape":
            return packed(good | {"mean": good["mean"][:-1]})
        case "empty":
            return packed(good | {"centres": good["centres"][:0]})
        case "centres":
            return packed(good | {"centres": np.zeros((4, 3), np.float32)})
        case "components":
            return packed(arrays(k=33, d=40))
        case "nan":
            return packed(good | {"mean": np.full(D, np.nan, np.float32)})
        case "asymmetric":
            return packed(good | {"precision": good["precision"] + np.triu(np.ones((3, 3), np.float32), 1)})
    return packed(good | {"precision": -good["precision"]})


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("cut", "cannot be read"),
        ("text", "cannot be read"),
        ("pickle", "cannot be read"),
        ("missing", "instead of components, mean, centres, precision"),
        ("more", "instead of"),
        ("float64", "mean is float64"),
        ("shape", "mean has shape"),
        ("empty", "centres has shape"),
        ("centres", "4 centres for 3 classes"),
        ("components", "33 components"),
        ("nan", "not finite"),
        ("asymmetric", "not symmetric"),
        ("negative", "not positive"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(BundleError, match=said) as caught:
        rewrite(write_tiny_bundle(tmp_path), features=damaged(what), distance_above=1.0)
    assert FEATURES_NPZ in str(caught.value)


def test_the_file_is_a_part_of_the_bundle(tmp_path: Path) -> None:
    folder = rewrite(write_tiny_bundle(tmp_path), features=packed(arrays()), distance_above=5.0, entropy_above=0.9)
    bundle = load_bundle(folder)
    assert bundle.spec.calibration.abstain == AbstainSpec(distance_above=5.0, entropy_above=0.9)
    assert bundle.features_npz is not None
    (folder / FEATURES_NPZ).write_bytes(packed(arrays(seed=1)))
    with pytest.raises(BundleError, match=r"features\.npz was edited or damaged"):
        load_bundle(folder)
    (folder / FEATURES_NPZ).unlink()
    with pytest.raises(BundleError, match=r"features\.npz is missing"):
        load_bundle(folder)


def test_a_limit_on_the_distance_needs_the_file_and_a_limit(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"sha256 does not list features\.npz"):
        rewrite(write_tiny_bundle(tmp_path / "a"), features=None, distance_above=5.0)
    with pytest.raises(ValueError, match="states no limit"):
        AbstainSpec()
    for wrong in (
        {"entropy_above": 0.0},
        {"entropy_above": 1.1},
        {"distance_above": 0.0},
        {"distance_above": math.inf},
    ):
        with pytest.raises(ValueError, match="Input should be"):
            AbstainSpec(**wrong)


def test_a_space_of_other_features_than_the_graphs_is_refused(tmp_path: Path) -> None:
    folder = rewrite(write_tiny_bundle(tmp_path), features=packed(arrays(d=D + 1)), distance_above=5.0)
    with pytest.raises(BundleError, match=f"there are {D} features, and features.npz is of {D + 1}"):
        OnnxRunner([load_bundle(folder)])


def test_the_runner_tells_the_distance_of_its_features(tmp_path: Path) -> None:
    bundle = load_bundle(rewrite(write_tiny_bundle(tmp_path), features=packed(arrays()), distance_above=5.0))
    runner = OnnxRunner([bundle])
    rng = np.random.Generator(np.random.PCG64(5))
    inputs = {name: rng.standard_normal((1, 138)).astype(np.float32) for name in ("eda", "ecg")}
    raw = runner.score(bundle.spec.name, inputs)
    assert bundle.features_npz is not None
    assert raw.distance == read_feature_space(bundle.features_npz).distance(raw.features)
    plain = load_bundle(write_tiny_bundle(tmp_path / "plain"))
    assert OnnxRunner([plain]).score(plain.spec.name, inputs).distance is None


# Which windows are uncertain ----------------------------------------------------------------------------------------


def limited(tmp_path: Path, **abstain: float) -> BundleSpec:
    spec = load_bundle(write_tiny_bundle(tmp_path)).spec
    calibration = spec.calibration.model_copy(update={"abstain": AbstainSpec(**abstain) if abstain else None})
    return spec.model_copy(update={"calibration": calibration})


def test_a_window_over_either_limit_is_uncertain(tmp_path: Path) -> None:
    sure, unsure = (0.98, 0.01, 0.01), (0.34, 0.33, 0.33)
    both = limited(tmp_path, entropy_above=0.9, distance_above=4.0)
    assert uncertainty(both, sure, 4.0) == ()
    assert uncertainty(both, sure, 4.5) == UNLIKE
    assert uncertainty(both, sure, math.nan) == UNLIKE
    assert uncertainty(both, unsure, 4.0) == ("uncertain:entropy",)
    assert uncertainty(both, unsure, 5.0) == ("uncertain:entropy", *UNLIKE)
    assert uncertainty(limited(tmp_path, entropy_above=0.9), sure, None) == ()
    assert uncertainty(limited(tmp_path), unsure, 1e9) == ()
    with pytest.raises(ValueError, match="its runner gives none"):
        uncertainty(both, sure, None)


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6))
def test_entropy_lies_between_nothing_and_one(weights: list[float]) -> None:
    shares = [w / sum(weights) for w in weights]
    assert 0.0 <= normalised_entropy(shares) <= 1.0
    assert normalised_entropy([1.0 / len(shares)] * len(shares)) == pytest.approx(1.0)


class Distant(LinearRunner):
    """A runner whose windows lie far from training while it is told so."""

    def __init__(self, specs: Sequence[BundleSpec], far: range) -> None:
        super().__init__(specs)
        self._far = far

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        raw = super().score(bundle, inputs)
        return dataclasses.replace(raw, distance=9.0 if len(self.seen) in self._far else 1.0)


def course(spec: BundleSpec, far: range, *, size: int = 8, seconds: int = 60) -> list[Any]:
    rng = np.random.Generator(np.random.PCG64(3))
    eda = (2.0 + 0.2 * np.cumsum(rng.standard_normal(32 * seconds)) / 32).astype(np.float32)
    beats = np.exp(-0.5 * ((np.arange(256 * seconds) / 256 % 0.8 - 0.4) / 0.02) ** 2)
    ecg = (beats + 0.01 * rng.standard_normal(len(beats))).astype(np.float32)
    log = [*chunks("EDA", eda, line(32.0, len(eda)), size), *chunks("ECG", ecg, line(256.0, len(ecg)), 8 * size)]
    pipeline, _ = make_pipeline([spec], runner=Distant([spec], far))
    return run(pipeline, [stream("EDA", 32.0), stream("ECG", 256.0)], log)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    return limited(tmp_path_factory.mktemp("bundle"), distance_above=4.0)


def test_an_uncertain_window_keeps_its_probabilities_and_gives_no_index(spec: BundleSpec) -> None:
    events = course(spec, range(20, 30))
    plain = course(spec, range(0))
    unsure = [score for score in scores(events) if score.uncertain]
    assert len(unsure) == 10
    for score in unsure:
        assert (score.uncertain, score.absent, score.index, score.told) == (UNLIKE, (), None, None)
        assert score.distance == 9.0
    before = {score.k: score for score in scores(plain)}
    for score in scores(events):  # what the model said is on record, whether it is believed or not
        same = before[score.k]
        assert (score.probabilities, score.logits, score.window_hash) == (
            same.probabilities,
            same.logits,
            same.window_hash,
        )


def test_the_index_is_made_of_the_other_windows_only(spec: BundleSpec) -> None:
    events = course(spec, range(20, 30))
    believed = {score.k: score.index for score in scores(events) if score.index is not None}
    said = []
    for index in (event for event in events if isinstance(event, PainIndex)):
        used = [value for k, value in believed.items() if index.k - 10 < k <= index.k]
        if index.fast is None:
            said.append(index.fast_withheld)
            assert len(used) < 5 or index.fast_withheld == "bundle_changed"
        else:
            assert index.fast == math.fsum(used) / len(used)
    assert UNLIKE[0] in said


def test_chunks_do_not_matter(spec: BundleSpec) -> None:
    def essence(events: list[Any]) -> list[tuple[Any, ...]]:
        return [(s.k, s.uncertain, s.distance, s.index) for s in scores(events)]

    assert essence(course(spec, range(20, 30))) == essence(course(spec, range(20, 30), size=31))


def test_a_runner_without_a_distance_where_one_is_limited_is_a_fault_of_the_model(
    spec: BundleSpec, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    pipeline, _ = make_pipeline([spec])
    signals = {"EDA": (32.0, 2.0 + 0.01 * rng.standard_normal(640)), "ECG": (256.0, rng.standard_normal(5120))}
    log = [
        chunk
        for key, (rate, values) in signals.items()
        for chunk in chunks(key, values.astype(np.float32), line(rate, len(values)), 64)
    ]
    told = scores(run(pipeline, [stream(key, rate) for key, (rate, _) in signals.items()], log))
    assert all(score.absent for score in told)
    assert all(score.probabilities is None and score.distance is None for score in told)


def test_uncertain_windows_leave_the_mean_as_absent_ones_do() -> None:
    tracker, other = IndexTracker(hop_s=1.0), IndexTracker(hop_s=1.0)
    for k in range(40):
        _, score = window(k, 60.0)
        doubtful = k % 3 == 0
        index = tracker.update(dataclasses.replace(score, uncertain=UNLIKE, index=None) if doubtful else score)
        absent = dataclasses.replace(score, absent=("EDA:gap",), probabilities=None, index=None)
        same = other.update(absent if doubtful else score)
        assert (index.fast, index.slow, index.bundle, index.hollow) == (same.fast, same.slow, same.bundle, same.hollow)


# Alarms -------------------------------------------------------------------------------------------------------------


def unsure_window(k: int, fast: float | None) -> tuple[PainIndex, Score]:
    index, score = window(k, 60.0)
    score = dataclasses.replace(score, uncertain=UNLIKE, index=None)
    withheld = "" if fast is not None else UNLIKE[0]
    return dataclasses.replace(index, fast=fast, fast_withheld=withheld), score


def follow(steps: Sequence[tuple[float | None, bool]], **changes: float) -> list[AlarmOutput]:
    """Windows of (fast index, uncertain)."""
    alarm = manager(**changes)
    events: list[AlarmOutput] = []
    for k, (fast, unsure) in enumerate(steps):
        events += alarm.on_index(*(unsure_window(k, fast) if unsure else window(k, 10.0 if fast is None else fast)))
    return events


@given(st.lists(st.tuples(st.sampled_from([95.0, 60.0, 10.0]), st.booleans()), max_size=150))
@example([(95.0, True)] * 150)
@settings(deadline=None)
def test_no_pain_alarm_begins_in_an_uncertain_window(steps: list[tuple[float, bool]]) -> None:
    for event in follow(steps):
        if isinstance(event, AlarmEvent) and event.kind is AlarmKind.PHYSIOLOGICAL and event.presence is Presence.ON:
            assert not steps[int(event.t_rel)][1]


@given(st.lists(st.booleans(), min_size=40, max_size=120))
@settings(deadline=None)
def test_persistence_counts_believed_windows_only(unsure: list[bool]) -> None:
    (*events,) = follow([(60.0, item) for item in unsure])
    raised = [
        e for e in events if isinstance(e, AlarmEvent) and (e.condition, e.presence.value) == ("pain_moderate", "on")
    ]
    if not raised:
        return
    at = int(raised[0].t_rel)
    onset = int(raised[0].onset - (raised[0].t - raised[0].t_rel))
    assert sum(not item for item in unsure[onset + 1 : at + 1]) == 15
    # Longer than 10 s of doubt within would have reset it.
    gaps = [b - a for a, b in pairwise(k for k in range(onset, at + 1) if not unsure[k])]
    assert max(gaps, default=0) <= 11


def test_doubt_alone_alarms_softly_after_its_time_and_says_why() -> None:
    events = follow([(None, True)] * 40)
    assert brief([e for e in events if isinstance(e, AlarmEvent)]) == [("uncertain", "on", 30.0)]
    (event,) = events
    assert isinstance(event, AlarmEvent)
    assert event.causes == UNLIKE
    assert event.hard  # there is no index of these windows


def test_pain_that_can_be_judged_no_longer_gives_way_to_doubt_at_once() -> None:
    events = [e for e in follow([(60.0, False)] * 20 + [(None, True)] * 20) if isinstance(e, AlarmEvent)]
    assert brief(events) == [("pain_moderate", "on", 15.0), ("pain_moderate", "off", 30.0), ("uncertain", "on", 30.0)]
    assert "unlike_training" in events[1].text


def test_doubt_that_passes_ends_its_alarm() -> None:
    events = [e for e in follow([(None, True)] * 40 + [(10.0, False)] * 10) if isinstance(e, AlarmEvent)]
    assert brief(events) == [("uncertain", "on", 30.0), ("uncertain", "off", 45.0)]


def test_doubt_and_gaps_in_turn_are_not_passed_over() -> None:
    alarm = manager()
    events: list[AlarmOutput] = []
    for k in range(60):
        events += alarm.on_index(*(unsure_window(k, None) if k % 2 else window(k, ("EDA:gap",))))
    assert [e.condition for e in events if isinstance(e, AlarmEvent)] == ["unscorable"]


# What is said of it -------------------------------------------------------------------------------------------------


def test_nothing_that_goes_out_bears_its_class(spec: BundleSpec) -> None:
    index, score = unsure_window(3, None)
    message = score_message(score, index, utc_offset=0.0, origin="", notice="")
    assert (message["probabilities"], message["index"], message["uncertain"]) == (None, None, list(UNLIKE))
    labels = [label for label, _ in score_channels(score.classes, ("EDA", MODEL))]
    row = dict(zip(labels, score_row(score, index, score.classes, ("EDA", MODEL)), strict=True))
    assert [row["quality.model"], *(math.isnan(row[name]) for name in ("index_fast", "p.none", "p.severe"))] == [
        0.0,
        True,
        True,
        True,
    ]
    sure = dict(zip(labels, score_row(*reversed(window(3, 60.0)), score.classes, ("EDA", MODEL)), strict=True))
    assert (sure["quality.model"], sure["p.none"]) == (1.0, 0.5)
    mapper = Mapper(session=SESSION, bed="bed1", subject="s", utc_offset=0.0, version="0", notice="", bundles=[spec])
    resource = mapper.window(score, index)
    assert resource["dataAbsentReason"]["text"] == UNLIKE[0]
    shares = [c for c in resource["component"] if c["code"]["coding"][0]["code"].startswith("probability")]
    assert len(shares) == len(score.classes)
    assert all(c["dataAbsentReason"]["text"] == UNLIKE[0] and "valueQuantity" not in c for c in shares)
    (text,) = [
        text
        for text in ScoreLines(timestamp=lambda _t, _t_rel: "", bundles=[spec]).add("bed1", [score, index])
        if "index" in text
    ]
    assert "unlike_training" in text
    assert "severe" not in text
    (row_text,) = JsonLines(bundles=[spec]).add("bed1", [score, index])
    assert json.loads(row_text)["probabilities"] is None
    assert json.loads(row_text)["uncertain"] == list(UNLIKE)


# On record ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vote", ["first", "any"])
def test_a_session_with_uncertain_windows_computes_anew_bit_for_bit(tmp_path: Path, vote: str) -> None:
    limits = {"distance_above": 2.0, "entropy_above": 0.9}
    first = rewrite(write_tiny_bundle(tmp_path / "a"), features=packed(arrays()), **limits)
    second = write_tiny_bundle(tmp_path / "b", name="tiny-eda", modalities=("EDA",))
    bundles = [load_bundle(path) for path in (first, second)]
    names = tuple(bundle.spec.name for bundle in bundles)
    bed = BedSettings.model_validate({"name": "bed1", "bundles": names, "calibration_s": 10, "vote": vote})
    path = tmp_path / "a.session.db"
    writer = SessionWriter(
        path=path,
        meta=made_meta(settings=bed),
        bundles=[StoredBundle(spec=bundle.spec, path=str(bundle.path)) for bundle in bundles],
    )
    pipeline = Pipeline(
        bed=bed, bundles=[bundle.spec for bundle in bundles], runner=OnnxRunner(bundles), session=MADE_SESSION
    )
    record(writer, pipeline, made_steps())
    writer.close()
    with SessionReader(path) as reader:
        stored, indices = list(reader.scores()), list(reader.indices())
        exported = {file.name: file for file in export(reader, tmp_path / "csv", kind="csv")}
    unsure = [score for score in stored if score.uncertain]
    assert 0 < len(unsure) < len([score for score in stored if not score.absent])
    assert all(score.probabilities is not None and score.distance is not None for score in unsure)
    assert {index.vote for index in indices} == {"" if vote == "first" else vote}
    assert verify(path, runner_factory=OnnxRunner).differences == ()
    header, *rows = exported["scores.csv"].read_text().splitlines()
    column = header.split(",").index("uncertain")
    assert [row.split(",")[column] for row in rows] == [" ".join(score.uncertain) for score in stored]
