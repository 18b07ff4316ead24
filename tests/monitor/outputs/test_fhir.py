"""A session's FHIR collection is valid R5, says what the session says, and names nobody."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.bundle import Bundle

from monitor.errors import SessionError
from monitor.outputs.fhir import LOCAL, Mapper
from monitor.sessions.export import export
from monitor.sessions.reader import SessionReader
from monitor.types import AlarmEvent, Marker, Presence, Priority
from tests.helpers.made_session import OFFSET, SESSION, made_alarm, made_spec, made_writer, write_eventful_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eventful_session(tmp_path_factory.mktemp("session") / "a.session.db", seconds=360)


@pytest.fixture(scope="module")
def text(session: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    with SessionReader(session) as reader:
        files = export(reader, tmp_path_factory.mktemp("export") / "fhir", kind="fhir")
    assert [file.name for file in files] == ["README.txt", "bundle.json"]
    assert "RESEARCH USE ONLY" in files[0].read_text(encoding="utf-8")
    return files[1].read_text(encoding="utf-8")


def resources(text: str, kind: str) -> list[dict[str, Any]]:
    found = [entry["resource"] for entry in json.loads(text)["entry"]]
    return [resource for resource in found if resource["resourceType"] == kind]


def code_of(resource: dict[str, Any]) -> str:
    return str(resource["code"]["coding"][0]["code"])


def test_it_is_valid_r5_and_every_reference_resolves(text: str) -> None:
    bundle = Bundle.model_validate_json(text)
    assert len(bundle.entry) > 150
    content = json.loads(text)
    urls = [entry["fullUrl"] for entry in content["entry"]]
    assert len(set(urls)) == len(urls)
    assert all(url == f"urn:uuid:{entry['resource']['id']}" for url, entry in zip(urls, content["entry"], strict=True))
    references = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            references.update([value["reference"]] if isinstance(value.get("reference"), str) else [])
            list(map(walk, value.values()))
        elif isinstance(value, list):
            list(map(walk, value))

    walk(content)
    assert references
    assert references <= set(urls)
    assert {label["code"] for label in content["meta"]["security"]} == {"HRESCH", "HTEST"}


def test_a_broken_resource_would_be_found(text: str) -> None:
    content = json.loads(text)
    next(e for e in content["entry"] if e["resource"]["resourceType"] == "Observation")["resource"].pop("status")
    with pytest.raises(ValueError, match="status"):
        Bundle.model_validate(content)


def test_every_window_is_there_with_its_index_or_its_reason(session: Path, text: str) -> None:
    with SessionReader(session) as reader:
        scores = list(reader.scores())
        indices = {index.k: index for index in reader.indices()}
        measures = {item.k: item for item in reader.comparators()}
    found = [item for item in resources(text, "Observation") if code_of(item) == "pain-index-fast"]
    assert len(found) == len(scores)
    absent = 0
    for item, score in zip(found, scores, strict=True):
        index = indices[score.k]
        when = datetime.fromisoformat(item["effectiveDateTime"]).timestamp()
        assert when == pytest.approx(score.t_end + OFFSET, abs=0.0011)
        assert ("valueQuantity" in item) != ("dataAbsentReason" in item)
        if index.fast is None:
            absent += 1
            assert item["dataAbsentReason"]["text"] == index.fast_withheld
            assert item["dataAbsentReason"]["coding"][0]["code"] == "unknown"
        else:
            assert item["valueQuantity"]["value"] == index.fast
        parts = {code_of(part): part for part in item["component"]}
        p = [parts[f"probability-{name}"]["valueQuantity"]["value"] for name in score.classes if score.probabilities]
        assert tuple(p) == (score.probabilities or ())
        assert parts["hollow"]["valueBoolean"] == index.hollow
        rate, scr = parts["8867-4"], parts["scr-rate"]
        assert rate["code"]["coding"][0]["system"] == "http://loinc.org"
        assert (rate["valueQuantity"]["value"], rate["valueQuantity"]["code"]) == (
            measures[score.k].heart_rate_bpm,
            "/min",
        )
        assert ("dataAbsentReason" in scr) == (measures[score.k].scr_per_s is None)
        assert parts["spi-style"]["dataAbsentReason"]["text"] == "BVP:no_stream"
        assert "ab" * 32 in item["method"]["text"]
        assert item["code"]["coding"][0]["system"] == LOCAL
    assert 10 < absent < len(found) - 10


def test_reported_scores_have_the_loinc_code_and_other_markers_stay_out(session: Path, text: str) -> None:
    with SessionReader(session) as reader:
        markers = list(reader.events(Marker))
    found = [item for item in resources(text, "Observation") if code_of(item) == "72514-3"]
    assert [item["valueQuantity"]["value"] for item in found] == [m.value for m in markers if m.kind == "nrs"] == [6.0]
    assert any(marker.text for marker in markers)
    assert not any(marker.text in text for marker in markers if marker.text)
    assert "nurse" not in text


def test_an_alarm_is_one_issue_from_onset_to_end(session: Path, text: str) -> None:
    with SessionReader(session) as reader:
        alarms = list(reader.events(AlarmEvent))
    (issue,) = resources(text, "DetectedIssue")
    assert issue["identifier"][0]["value"] == f"urn:uuid:{alarms[0].event_id}"
    assert (code_of(issue), issue["severity"], issue["status"]) == ("pain_moderate", "low", "final")
    start, end = (datetime.fromisoformat(issue["identifiedPeriod"][key]).timestamp() for key in ("start", "end"))
    assert (start, end) == pytest.approx((alarms[0].onset + OFFSET, alarms[-1].t + OFFSET), abs=0.0011)


def test_an_alarm_that_stands_is_preliminary_and_its_acknowledgement_is_kept() -> None:
    mapper = Mapper(
        session=SESSION, bed="bed1", subject="S01", utc_offset=OFFSET, version="1", notice="", bundles=[made_spec()]
    )
    events = [made_alarm(20.0, priority=Priority.MEDIUM), made_alarm(30.0, Presence.ACK, priority=Priority.MEDIUM)]
    (issue,) = mapper.alarms([*events])
    assert (issue["status"], issue["severity"]) == ("preliminary", "moderate")
    assert "end" not in issue["identifiedPeriod"]
    assert len(issue["mitigation"]) == 1
    assert "; ack " in issue["detail"]


def test_two_exports_are_equal(session: Path, text: str, tmp_path: Path) -> None:
    with SessionReader(session) as reader:
        export(reader, tmp_path / "again", kind="fhir")
    assert (tmp_path / "again" / "bundle.json").read_text(encoding="utf-8") == text


def test_a_session_without_a_date_is_refused(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", meta={"clock_offset": None})
    writer.close()
    with SessionReader(writer.path) as reader, pytest.raises(SessionError, match="FHIR needs dates"):
        export(reader, tmp_path / "out", kind="fhir")
    assert [path.name for path in tmp_path.iterdir()] == ["a.session.db"]
