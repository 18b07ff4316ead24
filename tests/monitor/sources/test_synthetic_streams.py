from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import MonitorError
from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.sources.synthetic_streams import REGIONS, VIDEO, SyntheticSubject
from monitor.sources.synthetic_video import SyntheticEmbeddings

PATIENT = SyntheticPatient(part="test", number=2, rest_s=10.0)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_frames_do_not_depend_on_how_they_are_read(cuts: list[int]) -> None:
    video = SyntheticEmbeddings(PATIENT)
    edges = [0, *sorted(cuts), 200]
    parts = [video.frames(a, b - a) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), video.frames(0, 200))


def test_a_face_answers_to_pain_and_faces_differ() -> None:
    patient = SyntheticPatient(part="test", number=2, rest_s=10.0, responder=True)
    episode = patient.episodes_until(60.0)[0]
    video = SyntheticEmbeddings(patient)
    at = round((episode.onset_s + 1.0) * 25)
    before, during = video.frames(at - 100, 50).mean(axis=0), video.frames(at, 25).mean(axis=0)
    rest = video.frames(0, 50).mean(axis=0) - video.frames(50, 50).mean(axis=0)
    assert np.linalg.norm(during - before) > 1.5 * np.linalg.norm(rest)
    other = SyntheticEmbeddings(SyntheticPatient(part="test", number=3))
    assert np.abs(other.frames(0, 1) - video.frames(0, 1)).max() > 1.0


def test_every_signal_of_a_subject_is_played_whole_and_in_order_with_its_channels() -> None:
    modalities = ("EDA", VIDEO, REGIONS)
    specs = {spec.key: spec for spec in synthetic_specs(PATIENT, modalities)}
    assert [specs[key].channels for key in modalities] == [1, 160, 246]
    packets = list(synthetic_packets(PATIENT, modalities, duration_s=4.0))
    dues = [due for due, *_ in packets]
    assert dues == sorted(dues)
    subject = SyntheticSubject(PATIENT)
    for key in modalities:
        count = round(4.0 * specs[key].rate_hz)
        samples, stamps = subject.measured(key, 0, count)
        mine = [(x, t) for _, name, x, t in packets if name == key]
        np.testing.assert_array_equal(np.concatenate([x for x, _ in mine]), samples)
        np.testing.assert_array_equal(np.concatenate([t for _, t in mine]), stamps)
        assert samples.shape == ((count,) if specs[key].channels == 1 else (count, specs[key].channels))


def test_a_stream_that_no_simulated_subject_has_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(MonitorError, match=r"ARRAY:regions, EMBED:video"):
        synthetic_specs(PATIENT, ("ARRAY:eeg",))
