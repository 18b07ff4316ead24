"""Recordings and patients as packets: nothing is lost, doubled, reordered or restamped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.outputs.playback import recording_packets, recording_specs, stamps_of
from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
from monitor.sources.artefacts import Artefact
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import STAMP_TICK, Provenance

FEW = settings(max_examples=40, deadline=None)


def signal(name: str, count: int, rate: float | None, t_first: float, stamps: np.ndarray | None = None) -> Signal:
    candidate = Candidate(key=f"csv:{name}", name=name, channel=name, rate_hz=rate, source="csv")
    return Signal(candidate=candidate, samples=np.arange(count, dtype=np.float32), t_first=t_first, stamps=stamps)


def recording(*signals: Signal) -> Recording:
    return Recording(path=Path("rec.csv"), format="csv", signals=signals)


@FEW
@given(
    rates=st.lists(st.sampled_from([0.7, 4.0, 15.5, 100.0, 496.0]), min_size=1, max_size=3),
    counts=st.lists(st.integers(1, 300), min_size=3, max_size=3),
    firsts=st.lists(st.floats(0.0, 3.0), min_size=3, max_size=3),
    start_s=st.floats(0.0, 4.0),
    duration_s=st.none() | st.floats(0.1, 5.0),
    packet_s=st.sampled_from([0.02, 0.05, 1.4]),
)
def test_packets_are_the_recording_between_start_and_end(
    rates: list[float], counts: list[int], firsts: list[float], start_s: float, duration_s: float | None,
    packet_s: float,
) -> None:  # fmt: skip
    whole = recording(*(signal(f"s{i}", counts[i], rate, firsts[i]) for i, rate in enumerate(rates)))
    stamps = {s.candidate.key: stamps_of(s) for s in whole.signals}
    zero = np.round((min(v[0] for v in stamps.values()) + start_s) / STAMP_TICK) * STAMP_TICK
    if max(v[-1] for v in stamps.values()) < zero:
        with pytest.raises(SourceError, match="ends"):
            recording_packets(whole, start_s=start_s)
        return
    packets = list(recording_packets(whole, start_s=start_s, duration_s=duration_s, packet_s=packet_s))
    dues = [due for due, *_ in packets]
    assert dues == sorted(dues)
    for s in whole.signals:
        key = s.candidate.key
        mine = [(due, x, t) for due, k, x, t in packets if k == key]
        inside = stamps[key] >= zero
        if duration_s is not None:
            inside &= stamps[key] - zero < duration_s
        np.testing.assert_array_equal(np.concatenate([np.empty(0)] + [x for _, x, _ in mine]), s.samples[inside])
        got = np.concatenate([np.empty(0)] + [t for *_, t in mine])
        np.testing.assert_array_equal(got + zero, stamps[key][inside])
        assert all(due >= t[-1] for due, _, t in mine)
        assert all(t[-1] - t[0] <= packet_s for *_, t in mine)


def test_stamps_that_jump_back_are_sent_as_they_are_and_in_order() -> None:
    stamps = np.arange(40) / 10.0
    stamps[20:] -= 1.5
    whole = recording(signal("EDA", 40, None, 0.0, stamps))
    packets = list(recording_packets(whole))
    np.testing.assert_array_equal(np.concatenate([x for _, _, x, _ in packets]), np.arange(40))
    got = np.concatenate([t for *_, t in packets])
    np.testing.assert_array_equal(got, stamps_of(whole.signals[0]))
    dues = [due for due, *_ in packets]
    assert dues == sorted(dues)


def test_a_signal_without_rate_or_stamps_is_refused() -> None:
    with pytest.raises(SourceError, match="rate"):
        recording_packets(recording(signal("EDA", 4, None, 0.0)))
    with pytest.raises(SourceError, match="no samples"):
        recording_packets(recording(signal("EDA", 0, 4.0, 0.0)))


def test_specs_state_what_the_file_states_and_nothing_else() -> None:
    gsr, odd = recording_specs(recording(signal("hand GSR", 4, 30.0, 0.0), signal("marker", 4, 30.0, 0.0)))
    assert (gsr.type, gsr.unit, gsr.provenance) == ("EDA", None, Provenance.REPLAY)
    assert odd.type == ""
    assert gsr.source_id
    assert gsr.source_id != odd.source_id


def test_a_patient_is_played_whole_in_order_and_says_that_it_is_simulated() -> None:
    jump = Artefact(kind="clock_jump", modality="EDA", onset_s=3.0, duration_s=1.0, size=-50.0)
    patient = SyntheticPatient(part="test", number=3, artefacts=(jump,))
    packets = list(synthetic_packets(patient, ("EDA", "BVP"), start_s=2.0, duration_s=3.0, packet_s=0.1))
    for modality in ("EDA", "BVP"):
        rate = patient.rate_hz(modality)
        samples, stamps = patient.measured(modality, round(2.0 * rate), round(3.0 * rate))
        mine = [(x, t) for _, key, x, t in packets if key == modality]
        np.testing.assert_array_equal(np.concatenate([x for x, _ in mine]), samples)
        np.testing.assert_array_equal(np.concatenate([t for _, t in mine]), stamps - 2.0)
    dues = [due for due, *_ in packets]
    assert dues == sorted(dues)
    assert max(dues) <= 3.0
    assert {spec.provenance for spec in synthetic_specs(patient, ("EDA", "BVP"))} == {Provenance.SIMULATED}
