from __future__ import annotations

import contextlib
import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.sources.recordings import open_recording

pytest.importorskip("wfdb", reason="the optional package 'wfdb' is not installed")

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "recordings"
FRAMES = 30
HEADER = f"""take 3 10 {FRAMES}
take.dat 16x4 200 16 0 0 0 0 ECG
take.dat 16 100(50)/uS 16 0 0 0 0 hand GSR
take.dat 16x2 1/mmHg 16 0 0 0 0 ABP
"""
DIGITAL = np.random.default_rng(3).integers(-3000, 3000, size=(FRAMES, 7)).astype("<i2")


def write(folder: Path, data: bytes | None = None) -> Path:
    (folder / "take.hea").write_text(HEADER)
    (folder / "take.dat").write_bytes(DIGITAL.tobytes() if data is None else data)
    return folder / "take"


def test_signals_keep_their_rates_and_only_stated_units(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path))
    found = [(s.candidate.name, s.candidate.unit, s.candidate.rate_hz) for s in recording.signals]
    assert found == [("ECG", None, 40.0), ("hand GSR", "uS", 10.0), ("ABP", "mmHg", 20.0)]
    np.testing.assert_array_equal(recording.signals[0].samples, (DIGITAL[:, :4].ravel() / 200).astype(np.float32))
    np.testing.assert_array_equal(recording.signals[1].samples, ((DIGITAL[:, 4] - 50) / 100).astype(np.float32))
    for suffix in (".hea", ".dat"):
        again = open_recording(tmp_path / f"take{suffix}")
        assert [len(s.samples) for s in again.signals] == [FRAMES * 4, FRAMES, FRAMES * 2]


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, DIGITAL.nbytes - 1))
def test_a_cut_signal_file_keeps_every_whole_frame(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = write(tmp_path_factory.mktemp("cut"), DIGITAL.tobytes()[:cut])
    frames = cut // 14
    if frames == 0:
        with pytest.raises(SourceError, match="holds no samples"):
            open_recording(path)
        return
    recording = open_recording(path)
    ecg = (DIGITAL[:frames, :4].ravel() / 200).astype(np.float32)
    np.testing.assert_array_equal(recording.signals[0].samples, ecg)
    assert f"{frames} of {FRAMES} frames" in recording.notes[0]


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, len(HEADER) - 1))
def test_a_cut_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = write(folder)
    (folder / "take.hea").write_text(HEADER[:cut])
    with contextlib.suppress(SourceError):
        assert open_recording(path).signals


def test_a_missing_signal_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "take.dat").unlink()
    with pytest.raises(SourceError, match=r"take\.dat"):
        open_recording(path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(SourceError, match=r"pip install 'pain-monitor\[wfdb\]'"):
        open_recording(write(tmp_path))


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize(("record", "rate_hz"), [("drive17a", 480.0), ("drive17b", 496.0)])
def test_a_published_record_states_no_units_but_one(record: str, rate_hz: float) -> None:
    recording = open_recording(RECORDINGS / "drivedb17" / record)
    stated = {s.candidate.name: s.candidate.unit for s in recording.signals if s.candidate.unit}
    assert stated == {"HR": "bpm"}
    assert recording.signals[0].candidate.rate_hz == rate_hz
