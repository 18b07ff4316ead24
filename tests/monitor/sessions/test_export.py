"""An export says what the session says, in units, and never overwrites."""

from __future__ import annotations

import csv
import stat
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import SessionError
from monitor.sessions.export import export
from monitor.sessions.reader import SessionReader
from monitor.types import AlarmEvent, Marker
from tests.helpers.made_session import OFFSET, made_chunk, made_info, made_writer, write_eventful_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with something of everything."""
    return write_eventful_session(tmp_path_factory.mktemp("session") / "a.session.db", seconds=240)


@pytest.fixture(scope="module")
def folder(session: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export."""
    out = tmp_path_factory.mktemp("export") / "csv"
    shares: list[float] = []
    with SessionReader(session) as reader:
        files = export(reader, out, progress=shares.append)
    assert sorted(files) == sorted(out.iterdir())
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("name", "key"), [("signals_ECG.csv", "ecg"), ("signals_EDA.csv", "eda")])
def test_signals_are_the_stored_ones_in_the_unit_of_their_modality(
    session: Path, folder: Path, name: str, key: str
) -> None:
    with SessionReader(session) as reader:
        stamps, samples = reader.signal(key)
        info = next(stream.info for stream in reader.streams() if stream.info.key == key)
    found = rows(folder / name)
    assert len(found) == len(stamps) > 700
    np.testing.assert_allclose([float(row["t_rel"]) for row in found], stamps, rtol=0, atol=5.1e-7)
    values = info.gain * samples.astype(np.float64) + info.offset
    np.testing.assert_allclose([float(row["value"]) for row in found], values, rtol=1e-8)
    for row, stamp in list(zip(found, stamps, strict=True))[::97]:
        assert datetime.fromisoformat(row["utc"]).timestamp() == pytest.approx(stamp + OFFSET, abs=2e-6)


def test_an_unused_stream_is_exported_as_it_came_channel_by_channel(folder: Path) -> None:
    found = rows(folder / "signals_unused_wrist_ACC.csv")
    assert list(found[0]) == ["t_rel", "utc", "value_0", "value_1", "value_2"]
    assert len(found) == 2 * 220


def test_scores_indices_alarms_and_markers_are_the_stored_ones(session: Path, folder: Path) -> None:
    with SessionReader(session) as reader:
        scores = list(reader.scores())
        indices = {index.k: index for index in reader.indices()}
        measures = {item.k: item for item in reader.comparators()}
        alarms, markers = list(reader.events(AlarmEvent)), list(reader.events(Marker))
    found = rows(folder / "scores.csv")
    assert len(found) == len(scores)
    for row, score in zip(found, scores, strict=True):
        assert (int(row["k"]), float(row["t_rel"])) == (score.k, score.t_rel)
        assert row["absent"] == " ".join(score.absent)
        p = [row[f"p_{name}"] for name in score.classes]
        assert p == ([""] * 3 if score.probabilities is None else [repr(value) for value in score.probabilities])
        fast = indices[score.k].fast
        assert row["index_fast"] == ("" if fast is None else repr(fast))
        plain = measures[score.k]
        assert (row["heart_rate_bpm"], row["heart_rate_from"]) == (repr(plain.heart_rate_bpm), "ECG")
        assert row["scr_per_s"] == ("" if plain.scr_per_s is None else repr(plain.scr_per_s))
        assert row["spi"] == ""
        assert row["not_measured"] == " ".join((*plain.scr_absent, "BVP:no_stream"))
    found = rows(folder / "alarms.csv")
    assert [(r["presence"], r["event_id"], r["text"]) for r in found] == [
        (a.presence, a.event_id, a.text) for a in alarms
    ]
    found = rows(folder / "markers.csv")
    assert [(r["kind"], r["text"], r["value"]) for r in found] == [
        (m.kind, m.text, "" if m.value is None else repr(m.value)) for m in markers
    ]
    events = {row["event"] for row in rows(folder / "events.csv")}
    assert {"gap", "clock_fault", "late", "not_recorded"} <= events


def test_the_readme_says_units_origin_and_limits(folder: Path) -> None:
    text = (folder / "README.txt").read_text(encoding="utf-8")
    for words in (
        "RESEARCH USE ONLY",
        "SIMULATED SIGNALS",
        "trained on simulated patients",
        "in uS",
        "in mV",
        "0.01 * sample",
    ):
        assert words in text
    for path in folder.iterdir():
        assert path.name in text or path.name == "README.txt"


def test_nobody_else_may_look_into_an_export(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_is_overwritten_and_unknown_formats_are_refused(session: Path, folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with SessionReader(session) as reader:
        with pytest.raises(SessionError, match="never overwrites"):
            export(reader, folder)
        with pytest.raises(SessionError, match=r"no export format 'xlsx'.*csv"):
            export(reader, tmp_path / "x", kind="xlsx")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == []


def test_a_session_without_a_date_has_empty_utc_and_says_so(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", meta={"clock_offset": None})
    writer.stream(made_info(), 0.0)
    writer.chunk(made_chunk())
    writer.close()
    with SessionReader(writer.path) as reader:
        export(reader, tmp_path / "out")
    assert {row["utc"] for row in rows(tmp_path / "out" / "signals_EDA.csv")} == {""}
    assert "no date is known" in (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")


def test_text_from_outside_does_not_become_a_formula(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    writer.events([Marker(bed="bed1", t=1.0, kind="note", text="=1+1", value=None, actor="nurse")])
    writer.tick(1.0)
    writer.close()
    with SessionReader(writer.path) as reader:
        export(reader, tmp_path / "out")
    assert rows(tmp_path / "out" / "markers.csv")[0]["text"] == "'=1+1"


def test_two_streams_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    for key in ("a", "b"):
        writer.stream(made_info(key, unused="twice"), 0.0)
        writer.chunk(made_chunk(stream=key))
    writer.close()
    with SessionReader(writer.path) as reader:
        names = [path.name for path in export(reader, tmp_path / "out")]
    assert {"signals_unused_hand_EDA.csv", "signals_unused_hand_EDA_2.csv"} <= set(names)
