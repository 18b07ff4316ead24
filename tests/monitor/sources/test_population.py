"""population.toml: complete, sourced, and without effect on what a seed means unless a number changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import ConfigError, MonitorError
from monitor.sources.physiology_entries import Lognormal, Noise, Range
from monitor.sources.physiology_population import POPULATION_FILE, load_population, read_population, shifted
from monitor.sources.synthetic import PainEpisode, SyntheticPatient

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "simulated_signals.json"
"""Signals as they were while the numbers still stood in the code, with both gains at 1."""

CASES = {
    "train-0-True": {"part": "train", "number": 0, "responder": True},
    "train-17-False": {"part": "train", "number": 17, "responder": False},
    "demo-5-True": {"part": "demo", "number": 5, "responder": True},
    "rates": {
        "part": "train",
        "number": 40,
        "responder": True,
        "rest_s": 20.0,
        "rates_hz": {"ECG": 250.0, "EDA": 15.5, "BVP": 100.0, "EMG": 1000.0},
    },
}


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = POPULATION_FILE.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "population.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_of_the_file_give_the_signals_of_the_code_before_it(case: str) -> None:
    people = load_population().with_gains(eda=1.0, ecg=1.0)
    patient = SyntheticPatient(**CASES[case], population=people)
    expected = json.loads(GOLDEN.read_text())
    for modality in patient.rates_hz:
        count = int(400 * patient.rate_hz(modality))
        values = patient.samples(modality, 0, count)[:: max(count // 40, 1)][:40:3]
        # Sines and exponentials of different processors differ in their last digits.
        np.testing.assert_allclose(values, expected[f"{case}/{modality}"], rtol=1e-4, atol=1e-6, err_msg=modality)


def test_every_entry_says_where_it_comes_from() -> None:
    def entries(table: object, name: str) -> list[tuple[str, object]]:
        fields = type(table).model_fields  # type: ignore[attr-defined]
        if "source" in fields:
            return [(name, table)]
        return [
            pair
            for field in fields
            if hasattr(getattr(table, field), "model_copy")
            for pair in entries(getattr(table, field), f"{name}.{field}")
        ]

    found = entries(load_population(), "")
    assert len(found) > 150
    for name, entry in found:
        source = entry.source  # type: ignore[attr-defined]
        assert "[assumed]" in source or any(c.isdigit() for c in source) or "devices in use" in source, name
    assert load_population().shares.non_responders.value == 0.23


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("value = 0.23,", "value = 1.23,", "shares.non_responders"),
        ("median = 70.0,", "median = -70.0,", "rest.heart_rate_bpm.median"),
        ("median = 70.0,", "median = nan,", "rest.heart_rate_bpm.median"),
        ("low = 96.2, high = 98.8,", "low = 98.8, high = 96.2,", "rest.spo2_percent"),
        ("low_hz = 0.07, high_hz = 0.13,", "low_hz = 0.13, high_hz = 0.07,", "rhythm.low_frequency_bpm"),
        ("[rest]\n", "[rest]\nheart_rat = 1\n", "rest.heart_rat"),
        ("rise = 2.5, fall = 7.0,", "rise = 2.5, fall = 70.0,", "answer.heart_rate.fall"),
        ('source = "SHA17" }\nrsa_bpm', "}\nrsa_bpm", "(syntax)"),
        ('unit = "bpm", source = "SHA17" }\nrsa_bpm', 'unit = "bpm" }\nrsa_bpm', "rest.heart_rate_bpm.source"),
        ("eda_gain = ", "eda_gain = -", "gains.eda_gain"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_population(changed(tmp_path, old, new))
    assert [problem.key for problem in caught.value.problems] == [key]


def test_gains_scale_the_answers_to_pain_of_skin_and_heart_and_nothing_else() -> None:
    people = load_population()

    def signal(modality: str, *, eda: float, ecg: float, episodes: list[PainEpisode]) -> np.ndarray:
        patient = SyntheticPatient(
            part="tune",
            number=3,
            responder=True,
            episodes=episodes,
            confounders=None,
            population=people.with_gains(eda=eda, ecg=ecg),
        )
        return patient.samples(modality, 0, int(120 * patient.rate_hz(modality))).astype(np.float64)

    pain = [PainEpisode.tonic(40.0, 40.0, 1.0)]
    for modality in ("EDA", "ECG", "BVP"):
        calm = signal(modality, eda=1.0, ecg=1.0, episodes=[])
        np.testing.assert_array_equal(calm, signal(modality, eda=2.0, ecg=2.0, episodes=[]))
    calm, once, twice, heart = (
        signal("EDA", eda=eda, ecg=ecg, episodes=episodes)
        for eda, ecg, episodes in [(1.0, 1.0, []), (1.0, 1.0, pain), (2.0, 1.0, pain), (1.0, 2.0, pain)]
    )
    np.testing.assert_array_equal(once, heart)
    np.testing.assert_allclose(twice - calm, 2.0 * (once - calm), atol=1e-4)
    assert (once - calm).max() > 0.3
    skin, faster = (signal("ECG", eda=eda, ecg=ecg, episodes=pain) for eda, ecg in [(2.0, 1.0), (1.0, 2.0)])
    np.testing.assert_array_equal(skin, signal("ECG", eda=1.0, ecg=1.0, episodes=pain))
    assert np.abs(faster - skin)[60 * 256 :].max() > 0.1


def test_the_shifted_population_is_wider_noisier_and_has_other_devices() -> None:
    people, others = load_population(), load_population("shifted")
    assert others == shifted(people)
    assert others.rest.heart_rate_bpm.median == people.rest.heart_rate_bpm.median
    assert others.rest.heart_rate_bpm.spread == pytest.approx(1.5 * people.rest.heart_rate_bpm.spread)
    latency, wider = people.strength.scr_latency_s, others.strength.scr_latency_s
    assert wider.high - wider.low == pytest.approx(1.5 * (latency.high - latency.low))
    assert wider.high + wider.low == pytest.approx(latency.high + latency.low)
    assert others.sensor.ecg_noise.sd > people.sensor.ecg_noise.sd
    assert others.shares == people.shares
    assert others.gains == people.gains
    for modality, rates in others.devices.rates_hz().items():
        known = people.devices.rates_hz()[modality]
        assert modality == "RESP" or not set(rates) & set(known)
    for table in (others.rest, others.strength, others.pulse, others.session, others.fault):
        for name in type(table).model_fields:
            entry = getattr(table, name)
            if isinstance(entry, Range):
                assert entry.least <= entry.low <= entry.high <= entry.most, name
            assert not isinstance(entry, Lognormal | Noise) or np.isfinite(entry.model_dump().get("spread", 0.0))
    plain, strange = (
        SyntheticPatient(part="test", number=1, population=population) for population in ("default", "shifted")
    )
    assert plain.samples("EDA", 0, 100).tobytes() != strange.samples("EDA", 0, 100).tobytes()
    with pytest.raises(MonitorError, match="no population 'strange'"):
        SyntheticPatient(part="test", number=1, population="strange")


def test_shifted_subjects_can_be_generated() -> None:
    for number in range(12):
        patient = SyntheticPatient(part="shifted-test", number=number, population="shifted")
        for modality in patient.rates_hz:
            values = patient.samples(modality, 0, int(100 * patient.rate_hz(modality)))
            assert np.isfinite(values).all()
            assert np.ptp(values) > 0
