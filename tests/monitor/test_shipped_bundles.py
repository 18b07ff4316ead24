"""The bundles that come with the monitor: whole, honest about themselves, and doing what they are for."""

from __future__ import annotations

import json
import uuid
from functools import cache

import numpy as np
import pytest

from monitor.bundle_folder import Bundle, load_bundle, shipped_bundles
from monitor.config import BedSettings
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import has_index
from monitor.scoring.session import OnnxRunner
from monitor.sources.synthetic import PainEpisode, SyntheticPatient, patient_chunks
from monitor.sources.synthetic_regions import SyntheticRegions
from monitor.sources.synthetic_streams import SyntheticSubject
from monitor.types import AlarmEvent, AlarmKind, Chunk, Event, PainIndex, Provenance, Score, StreamInfo, snap

PAIN = {
    "crossmod-eda-bvp": ("EDA", "BVP"),
    "crossmod-eda-ecg": ("EDA", "ECG"),
    "fat-ecg": ("ECG",),
    "fat-eda": ("EDA",),
    "mscn-se-eda": ("EDA",),
    "mscn-se-eda-ecg-emg": ("EDA", "ECG", "EMG"),
    "painattnnet-attention-eda-ecg-emg": ("EDA", "ECG", "EMG"),
    "painattnnet-eda-ecg-emg": ("EDA", "ECG", "EMG"),
    "tiny-biomoe-eda": ("EDA",),
}
EMOTION = "se-cnn-regions"
UNTRAINED = "painformer-eda-untrained"
SHIPPED = PAIN | {EMOTION: ("ARRAY:regions",), UNTRAINED: ("EDA",)}
EACH = pytest.mark.parametrize("name", sorted(SHIPPED))
EACH_OF_PAIN = pytest.mark.parametrize("name", sorted(PAIN))
RESTLESS = ("fat-eda", "mscn-se-eda", "tiny-biomoe-eda")
"""Trained on pain, and not fit to draw an index: skin conductance alone says too little of pain that lasts."""
EACH_WITH_INDEX = pytest.mark.parametrize("name", sorted(PAIN.keys() - set(RESTLESS)))
CODES_BY_PART = {part: part for part in ("train", "validation", "calibration", "test")} | {"live": "test"}


@cache
def runner(name: str) -> OnnxRunner:
    return OnnxRunner([load_bundle(name)])


def windows(bundle: Bundle, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {i.name: rng.standard_normal(i.shape).astype(np.float32) for i in bundle.spec.inputs}


def live(name: str, patient: SyntheticPatient, seconds: float) -> list[Event]:
    """A simulated subject through the real pipeline and the shipped graph."""
    bundle = load_bundle(name)
    subject = SyntheticSubject(patient)
    bed = BedSettings(name="bed1", bundles=(name,), calibration_s=20.0, hop_s=bundle.spec.hop_seconds)
    pipeline = Pipeline(bed=bed, bundles=[bundle.spec], runner=runner(name), session=uuid.UUID(int=1))
    events: list[Event] = []
    for modality in SHIPPED[name]:
        info = StreamInfo(
            key=modality,
            bed="bed1",
            modality=modality,
            name=modality,
            unit=subject.unit(modality),
            rate_hz=subject.rate_hz(modality),
            channels=subject.channels(modality),
            source="synthetic",
            provenance=Provenance.SIMULATED,
            origin=0.0,
        )
        events += pipeline.open_stream(info, 0.0)
    for piece in patient_chunks(subject, SHIPPED[name], seconds=seconds, chunk_s=1.0):
        events += pipeline.feed(
            Chunk(
                stream=piece.modality,
                samples=piece.samples,
                stamps=snap(piece.stamps),
                arrival=float(snap(piece.due_s)),
            )
        )
    return events


def test_exactly_these_are_shipped() -> None:
    assert set(SHIPPED) == set(shipped_bundles())


@EACH
def test_a_shipped_bundle_is_whole_and_small(name: str) -> None:
    bundle = load_bundle(name)  # verifies every hash
    files = {path.name for path in bundle.path.iterdir()}
    limits = {"features.npz"} if name in PAIN else set()
    assert files == {"model.onnx", "explain.onnx", "weights.bin", "model.json", "card.md"} | limits
    assert tuple(dict.fromkeys(item.modality for item in bundle.spec.inputs)) == SHIPPED[name]
    assert bundle.spec.paper
    assert bundle.spec.weights.stored == "float16"


@EACH
def test_its_card_says_once_and_first_what_it_is_not(name: str) -> None:
    bundle = load_bundle(name)
    card = (bundle.path / bundle.spec.card).read_text(encoding="utf-8")
    title, said = card.split("\n\n")[:2]
    assert title == f"# {name} {bundle.spec.version}"
    assert bundle.spec.intended_use in said
    assert card.count(bundle.spec.intended_use) == 1
    assert said.count("imulated patients") <= 1


@EACH_OF_PAIN
def test_it_says_that_it_was_trained_on_simulated_patients(name: str) -> None:
    spec = load_bundle(name).spec
    assert spec.origin == "trained on simulated patients"
    assert (spec.weights.backbone, spec.weights.head) == ("simulated", "simulated")
    assert "simulated" in spec.training.data
    assert "Research use only" in spec.intended_use
    assert spec.target == "pain"
    assert [(item.name, item.level) for item in spec.classes] == [("none", 0.0), ("moderate", 0.5), ("severe", 1.0)]
    assert spec.calibration.prior == pytest.approx([1 / 3] * 3)


@EACH_OF_PAIN
def test_it_draws_an_index_only_if_its_figures_allow_one(name: str) -> None:
    """Beside plain features at least, and calm at rest, on held-out simulated subjects."""
    spec = load_bundle(name).spec
    figures = {key: float(value) for key, value in spec.training.metrics.items() if not isinstance(value, str)}
    behind = figures["test.balanced_accuracy"] < figures["baseline.balanced_accuracy"] - 0.05
    fit = not behind and figures["live.rest.median_index"] < 40.0
    assert has_index(spec) is fit is (name not in RESTLESS)
    assert spec.notice == ("" if fit else "NOT ELIGIBLE FOR ALARMS: no index, no alarm")
    card = (load_bundle(name).path / spec.card).read_text(encoding="utf-8")
    assert ("draws no index and may not alarm" in card) is not fit


def test_the_model_of_emotion_says_so_and_has_neither_index_nor_alarm() -> None:
    spec = load_bundle(EMOTION).spec
    assert (spec.target, spec.notice) == ("emotion", "CLASSIFIES EMOTION, NOT PAIN: no index, no alarm")
    assert not has_index(spec)
    assert [item.name for item in spec.classes] == ["happy", "normal", "sad"]
    card = (load_bundle(EMOTION).path / spec.card).read_text(encoding="utf-8")
    assert "It tells emotion, not pain. Research use only. Trained on simulated regions" in card


def test_the_untrained_model_says_so_and_has_neither_index_nor_alarm() -> None:
    spec = load_bundle(UNTRAINED).spec
    assert spec.notice == "UNTRAINED BACKBONE: shows the pipeline, not pain"
    assert spec.origin == "random weights, not trained"
    assert not has_index(spec)
    assert (spec.training.protocol, spec.training.metrics, spec.training.subjects) == ("none", {}, {})
    assert "UNTRAINED" in (load_bundle(UNTRAINED).path / spec.card).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "seconds"), [(EMOTION, 70.0), (UNTRAINED, 16.0), *((name, 60.0) for name in RESTLESS)]
)
def test_a_model_without_an_index_scores_live_and_is_never_shown_as_pain(name: str, seconds: float) -> None:
    pain = PainEpisode.tonic(5.0, 60.0, 1.0)
    events = live(name, SyntheticPatient(part="test", number=200, episodes=[pain], responder=True), seconds)
    scored = [event for event in events if isinstance(event, Score) and not event.absent]
    assert len(scored) >= 4
    assert {event.calibration for event in scored} == ({"population", "subject"} if name in RESTLESS else {"none"})
    assert all(event.index is None and event.probabilities is not None for event in scored)
    assert all(e.fast is None and e.slow is None for e in events if isinstance(e, PainIndex))
    assert not [e for e in events if isinstance(e, AlarmEvent) and e.kind is AlarmKind.PHYSIOLOGICAL]


def test_the_model_of_emotion_follows_the_regions_of_held_out_subjects() -> None:
    right = []
    for number in (400, 401, 402, 403):
        assert f"test-{number:04d}" not in str(load_bundle(EMOTION).spec.training.subjects)
        felt = SyntheticRegions(number, part="test")
        right += [
            felt.emotion_at(event.t_end - 5.0) == event.classes[int(np.argmax(event.probabilities))]
            for event in live(EMOTION, SyntheticPatient(part="test", number=number), 204.0)
            if isinstance(event, Score) and event.probabilities is not None
        ]
    assert len(right) > 600
    assert np.mean(right) > 0.55  # a third by chance


@EACH_OF_PAIN
def test_its_subjects_are_disjoint_and_come_from_the_right_seeds(name: str) -> None:
    subjects = load_bundle(name).spec.training.subjects
    assert set(subjects) == set(CODES_BY_PART)
    codes = [code for part in subjects.values() for code in part]
    assert len(set(codes)) == len(codes)
    for part, seeds in CODES_BY_PART.items():
        assert all(code.startswith(f"sim-{seeds}-") for code in subjects[part])
    assert load_bundle(name).spec.calibration.subjects == subjects["calibration"]


@EACH_OF_PAIN
def test_the_card_says_what_model_json_says(name: str) -> None:
    bundle = load_bundle(name)
    card, figures = (bundle.path / bundle.spec.card).read_text(encoding="utf-8"), bundle.spec.training.metrics
    assert card.startswith(f"# {name} {bundle.spec.version}\n")
    assert "Trained on simulated patients" in card
    assert bundle.spec.intended_use in card
    assert f"{bundle.spec.parameters:,} parameters" in card
    assert str(figures["test.confusion"]) in card
    rows = [line for line in card.splitlines() if line.startswith("|")]
    for text, key in (("| Balanced accuracy |", "balanced_accuracy"), ("| Macro F1 |", "macro_f1")):
        (row,) = [line for line in rows if line.startswith(text)]
        assert row == f"{text} {figures[f'test.{key}']:.3g} | {figures[f'baseline.{key}']:.3g} |"
    for part, codes in bundle.spec.training.subjects.items():
        assert part == "live" or any(line.startswith(f"| {part} | {len(codes)} |") for line in rows)


@EACH_OF_PAIN
def test_its_figures_agree_with_each_other(name: str) -> None:
    spec = load_bundle(name).spec
    figures = spec.training.metrics
    for model in ("test", "baseline"):
        matrix = np.array([row.split() for row in str(figures[f"{model}.confusion"]).split(" | ")], dtype=int)
        recalls = matrix.diagonal() / matrix.sum(axis=1)
        assert figures[f"{model}.accuracy"] == pytest.approx(matrix.trace() / matrix.sum(), abs=1e-4)
        assert figures[f"{model}.balanced_accuracy"] == pytest.approx(recalls.mean(), abs=1e-4)
    assert len(spec.calibration.bins) == 15
    # Of the probability of pain, every class counting the same: bins of equal mass, in order.
    told = [mean for mean, *_ in spec.calibration.bins]
    assert told == sorted(told)
    assert spec.calibration.ece is not None
    assert 0.0 <= spec.calibration.ece <= 1.0


@EACH
def test_its_graphs_agreed_with_torch_within_the_bound(name: str) -> None:
    parity = load_bundle(name).spec.parity
    assert parity["batches"] == "1, 3, 8"
    for weights in ("fill", "shipped"):
        assert float(parity[f"{weights}.worst_over_bound"]) <= 1.0
        assert {f"{weights}.{what}" for what in ("logits", "features", "attention")} <= set(parity)
    noticed, _, all_of_them, _ = str(parity["mutations"]).split()
    assert noticed == all_of_them != "0"
    assert float(parity["rounding.max_probability_change"]) <= 0.01
    assert {"noise.logits", "noise.features", "noise.attention"} <= set(parity)
    assert float(parity["mutations.weakest_over_bound"]) > 1.0


@EACH
def test_its_graphs_give_scores_and_the_maps_that_it_lists(name: str) -> None:
    bundle = load_bundle(name)
    inputs = windows(bundle)
    raw = runner(name).score(name, inputs)
    assert raw.logits.shape == (3,)
    assert np.isfinite(raw.logits).all()
    maps = runner(name).explain(name, inputs)
    assert {key: value.shape for key, value in maps.items()} == {a.name: a.shape for a in bundle.spec.attention}
    for attention in bundle.spec.attention:
        values = maps[attention.name]
        if attention.axis == "channel" and attention.kind != "embedding":
            assert ((values >= 0.0) & (values <= 1.0)).all()
        elif attention.axis == "image":
            assert values.sum() == pytest.approx(1.0, rel=1e-4)
        elif attention.kind != "embedding":
            np.testing.assert_allclose(values.sum(axis=-1), 1.0, rtol=1e-4)


@EACH_WITH_INDEX
def test_severe_pain_of_a_held_out_responder_raises_the_index(name: str) -> None:
    pain = PainEpisode.tonic(70.0, 40.0, 1.0)
    rest, during = [], []
    for number in (200, 201, 202):
        assert f"sim-test-{number:04d}" not in str(load_bundle(name).spec.training.subjects)
        patient = SyntheticPatient(part="test", number=number, episodes=[pain], confounders=(), responder=True)
        events = live(name, patient, 105.0)
        fast = [(e.t_end, e.fast) for e in events if isinstance(e, PainIndex) and e.fast is not None and not e.hollow]
        rest += [value for t, value in fast if t < 70.0]
        during += [value for t, value in fast if 82.0 <= t < 102.0]
        scored = [e for e in events if isinstance(e, Score) and not e.absent]
        assert len(scored) > 50
        assert all(e.provenance is Provenance.SIMULATED for e in scored)
    assert np.median(rest) < 45.0
    assert np.median(during) > np.median(rest) + 10.0


def test_model_json_is_plain_json() -> None:
    for name in SHIPPED:
        text = (load_bundle(name).path / "model.json").read_text(encoding="utf-8")
        assert "NaN" not in text
        assert json.loads(text)["name"] == name
