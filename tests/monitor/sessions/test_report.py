"""The summary counts what was stored, and the picture shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import SessionError
from monitor.sessions.picture import COLUMNS, envelope, picture
from monitor.sessions.reader import SessionReader
from monitor.sessions.report import SessionSummary, duration, summary, summary_text
from monitor.types import Provenance, Reason, StreamInfo, WindowsSkipped, snap
from tests.helpers.made_session import (
    made_chunk,
    made_index,
    made_info,
    made_score,
    made_writer,
    write_eventful_session,
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 s with an EDA gap of 40 s, 20 s that were not recorded, an alarm and two markers."""
    return write_eventful_session(tmp_path_factory.mktemp("session") / "a.session.db")


@pytest.fixture(scope="module")
def summed(session: Path) -> SessionSummary:
    """Its summary."""
    with SessionReader(session) as reader:
        return summary(reader)


def test_the_summary_counts_what_was_stored(session: Path, summed: SessionSummary) -> None:
    with SessionReader(session) as reader:
        scores = list(reader.scores())
        fast = [index.fast for index in reader.indices() if index.fast is not None]
    assert summed.seconds == 600.0
    assert summed.origin == 0.0
    assert summed.closed
    assert summed.provenance == (Provenance.SIMULATED,)
    assert (summed.scored, summed.absent, summed.skipped) == (len(scores) - 46, 46, 0)
    assert summed.reasons == {"EDA:gap": 46}
    assert summed.fast == tuple(np.quantile(fast, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist())
    assert [(alarm.condition, alarm.presence) for alarm in summed.alarms] == [
        ("pain_moderate", "on"),
        ("pain_moderate", "off"),
    ]
    assert [marker.kind for marker in summed.markers] == ["stimulus", "nrs"]
    assert [gap.records for gap in summed.recording_gaps] == [100]
    ecg, eda, acc = summed.streams
    assert ecg.measured_hz == pytest.approx(100.0, rel=1e-4)
    assert eda.measured_hz == pytest.approx(4.0, rel=1e-4)
    assert ecg.coverage == pytest.approx(580 / 600, abs=2e-4)
    assert eda.coverage == pytest.approx(540 / 600, abs=2e-3)
    assert [(gap.t_rel, gap.seconds) for gap in eda.gaps] == [(150.0, 40.0)]
    assert (eda.lost, ecg.late, eda.clock_faults) == (3, 17, (191.0,))
    assert acc.info.unused


def test_the_text_shows_all_of_it_and_what_the_signals_are(summed: SessionSummary) -> None:
    text = summary_text(summed)
    for words in (
        "Research use only",
        "SIMULATED SIGNALS",
        "trained on simulated patients",
        "ended in order",
        "gap at 150.0 s, 40 s",
        "EDA:gap: 46",
        "pain_moderate on",
        "dressing changed",
        "nrs 6",
        "NOT RECORDED: 300.0 to 320.0 s, 100 records (2200 samples): the disk is full",
        "not used: serves no model",
    ):
        assert words in text


def test_a_session_that_is_empty_skipped_or_cut_off_is_said_to_be(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", meta={"provenance": Provenance.REPLAY})
    with SessionReader(writer.path) as reader:
        empty = summary(reader)
        with pytest.raises(SessionError, match="nothing to draw"):
            picture(reader, tmp_path / "a.png")
    assert (empty.scored_share, empty.seconds, empty.streams, empty.fast) == (None, 0.0, (), ())
    text = summary_text(empty)
    assert "Index: none" in text
    assert "REPLAY OF A RECORDING" in text
    assert "NOT ended in order" in text
    writer.events([made_score(1), made_index(1)])
    writer.events([WindowsSkipped(bed="bed1", epoch=1, first_k=2, last_k=100, reason=Reason.CLOCK_JUMP)])
    writer.close()
    with SessionReader(writer.path) as reader:
        some = summary(reader)
    assert (some.scored, some.skipped, some.reasons, some.scored_share) == (1, 99, {"clock_jump": 99}, 0.01)


@pytest.mark.parametrize(("seconds", "words"), [(4.24, "4.2 s"), (723.0, "12 min 3 s"), (12_000.0, "3 h 20 min")])
def test_durations_are_readable(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_no_extreme_is_lost_by_drawing(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    writer = made_writer(tmp_path / "a.session.db")
    info: StreamInfo = made_info(rate_hz=100.0, gain=2.0, offset=-1.0)
    writer.stream(info, 0.0)
    whole = rng.normal(size=40_000).astype(np.float32)
    whole[12_345] = 99.0
    whole[777] = np.nan
    for start in range(0, 40_000, 160):
        if 10_000 <= start < 12_000:
            continue
        stamps = snap(np.arange(start, start + 160) / 100)
        writer.chunk(made_chunk(0.0, 160, samples=whole[start : start + 160].copy(), stamps=stamps))
    writer.close()
    with SessionReader(writer.path) as reader:
        stamps, samples = reader.signal(info.key)
        drawn = envelope(reader, info, origin=0.0, start=0.0, end=400.0)
    values = 2.0 * samples.astype(np.float64) - 1.0
    column = np.minimum((stamps / 400.0 * COLUMNS).astype(int), COLUMNS - 1)
    for number in range(0, COLUMNS, 7):
        inside = values[(column == number) & np.isfinite(values)]
        if len(inside):
            assert (drawn.low[number], drawn.high[number]) == (inside.min(), inside.max())
        else:
            assert np.isnan(drawn.low[number])
    assert np.nanmax(drawn.high) == 2.0 * 99.0 - 1.0
    assert len(drawn.gaps) == 1
    assert drawn.gaps[0] == pytest.approx((100.79, 120.0), abs=1e-5)


def test_the_picture_is_drawn_with_what_must_stand_on_it(session: Path, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib.figure")
    said: list[str] = []
    hatches: set[str] = set()
    save = matplotlib.Figure.savefig

    def listen(figure: object, *arguments: object, **named: object) -> object:
        texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))  # type: ignore[attr-defined]
        said.extend(str(artist.get_text()) for artist in texts)
        found = figure.findobj(lambda artist: hasattr(artist, "get_hatch"))  # type: ignore[attr-defined]
        hatches.update(artist.get_hatch() for artist in found if artist.get_hatch())
        return save(figure, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch, SessionReader(session) as reader:
        patch.setattr(matplotlib.Figure, "savefig", listen)
        out = picture(reader, tmp_path / "a.png")
        picture(reader, out)
        (tmp_path / "photo.png").write_bytes(b"\x89PNG of somebody else")
        with pytest.raises(SessionError, match="another file"):
            picture(reader, tmp_path / "photo.png")
    assert out.read_bytes().startswith(b"\x89PNG")
    text = "\n".join(said)
    for words in ("RESEARCH USE ONLY", "SIMULATED SIGNALS", "trained on simulated patients", "subject S01", "ECG\nmV"):
        assert words in text
    for words in ("EDA\nuS", "limit moderate (50)", "limit severe (70)", "pain_moderate", "nrs 6", "dressing changed"):
        assert words in text
    assert len(hatches) == 3  # no samples, no index, not recorded


def test_summing_up_does_not_load_the_plotting_library() -> None:
    code = "import json, sys, monitor.sessions.picture; print(json.dumps('matplotlib' in sys.modules))"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) is False
