"""A session as a FHIR R5 collection: plain dictionaries, without any FHIR library. Pure. docs/fhir.md has the mapping.

The index has a local code, since no public code means it; whoever receives it must not take it for a pain score. Only
what a person reported is one (LOINC 72514-3). De-identified by default: subject code and bed, no actors, no free text.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from monitor.bundle import BundleSpec
from monitor.types import AlarmEvent, Comparators, Marker, PainIndex, Presence, Priority, Provenance, Score

Resource = dict[str, Any]

LOCAL: Final = "urn:uuid:5c1d3d4e-58a4-4f7e-9a4c-0b7f6f2f7a30"
"""Code system of what has no public code: `pain-index-fast`, `pain-index-slow`, `probability-<class>`, alarm
conditions, `live`, `replay` and `simulated`."""
LOINC_NRS: Final = "72514-3"
LOINC_HEART_RATE: Final = "8867-4"
NOTICE: Final = "RESEARCH USE ONLY. An evidence scale, not a probability of pain and not a pain score; unvalidated."

_UCUM: Final = "http://unitsofmeasure.org"
_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_SEVERITY: Final[Mapping[Priority, str]] = {
    Priority.HIGH: "high",
    Priority.MEDIUM: "moderate",
    Priority.LOW: "low",
}


class Mapper:
    """Turns what a session holds into resources.

    Args:
        session: The session; all ids follow from it, so that two exports of a session are the same.
        bed: Name of the bed.
        subject: Subject code.
        utc_offset: UTC minus stream clock in seconds.
        version: Version of the monitor that recorded it.
        notice: What is said of the whole session.
        bundles: Its model bundles.
    """

    def __init__(
        self,
        *,
        session: uuid.UUID,
        bed: str,
        subject: str,
        utc_offset: float,
        version: str,
        notice: str,
        bundles: Sequence[BundleSpec],
    ) -> None:
        self._session = session
        self._bed = bed
        self._subject = subject
        self._offset = utc_offset
        self._version = version
        self._notice = notice
        self._bundles = {spec.name: spec for spec in bundles}

    def head(self, *, created_utc: float, provenance: Provenance) -> Resource:
        """The collection without its entries.

        Args:
            created_utc: When the session began, in UTC.
            provenance: Where its signals came from; simulated ones are labelled as test data (HTEST).
        """
        act = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
        labels = ["HRESCH", *(["HTEST"] if provenance is Provenance.SIMULATED else [])]
        return {
            "resourceType": "Bundle",
            "id": str(self._session),
            "meta": {
                "security": [{"system": act, "code": label} for label in labels],
                "tag": [_coding(provenance.value, f"{provenance.value} signals; {NOTICE}")],
            },
            "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{self._session}"},
            "type": "collection",
            "timestamp": _instant(created_utc),
        }

    def about(self) -> Iterator[Resource]:
        """The patient by code, the monitor, and its model bundles."""
        yield {
            "resourceType": "Patient",
            "id": self._id("patient"),
            "identifier": [{"system": LOCAL, "value": self._subject}],
        }
        yield {
            "resourceType": "Device",
            "id": self._id("monitor"),
            "displayName": "pain-monitor",
            "type": [{"text": f"research software, bed {self._bed}"}],
            "version": [{"value": self._version}],
            "note": [{"text": NOTICE}, *([{"text": self._notice}] if self._notice else [])],
        }
        for spec in self._bundles.values():
            yield {
                "resourceType": "Device",
                "id": self._id("bundle", spec.name),
                "displayName": spec.name,
                "type": [{"text": "model"}],
                "version": [{"value": spec.version}],
                "parent": self._reference("monitor"),
                "note": [{"text": spec.intended_use}, {"text": f"weights: {spec.origin}"}],
            }

    def window(self, score: Score, index: PainIndex | None, measures: Comparators | None = None) -> Resource:
        """One window: the fast index, or why there is none; the slow one, the probabilities and the plain measures as
        components.

        Args:
            score: The score.
            index: The index of the same window, where there is one.
            measures: The plain measures of the same window, where there are any.
        """
        why = " ".join(score.withheld) or "no_index"
        fast_absent = (index.fast_withheld if index else "") or why
        slow_absent = (index.slow_withheld if index else "") or why
        components: list[Resource] = [
            {
                "code": {"coding": [_coding("pain-index-slow", "Pain index, mean over 120 s")]},
                **_index_value(index.slow if index else None, slow_absent),
            },
            {
                "code": {"coding": [_coding("calibration", "Whose baseline the index refers to")]},
                "valueString": f"{score.calibration}; {score.calibration_state.value}",
            },
        ]
        if index is not None:
            hollow = _coding("hollow", "Not calibrated to this subject")
            components.append({"code": {"coding": [hollow]}, "valueBoolean": index.hollow})
        for name, p in zip(score.classes, score.probabilities or (), strict=False):
            code = {"coding": [_coding(f"probability-{name}", f"Class probability: {name}")]}
            told = {"valueQuantity": _quantity(p, "1")} if not score.uncertain else _absent(why)
            components.append({"code": code, **told})
        if measures is not None:
            components += _plain(measures)
        return {
            "resourceType": "Observation",
            "id": self._id("window", str(score.epoch), str(score.k)),
            "meta": {"tag": [_coding(score.provenance.value)]},
            "status": "final",
            "code": {
                "coding": [_coding("pain-index-fast", "Pain index, mean over 10 s")],
                "text": "Pain index (0-100, research)",
            },
            "subject": self._reference("patient"),
            "effectiveDateTime": self._utc(score.t_end),
            "device": self._reference("bundle", score.bundle),
            "method": {"text": self._method(score.bundle)},
            **_index_value(index.fast if index else None, fast_absent),
            "note": [{"text": NOTICE}],
            "component": components,
        }

    def reported(self, marker: Marker) -> Resource | None:
        """A pain score that a person reported; None for any other marker, whose text may hold anything."""
        if marker.kind != "nrs" or marker.value is None:
            return None
        display = "Pain severity - 0-10 verbal numeric rating [Score] - Reported"
        return {
            "resourceType": "Observation",
            "id": self._id("nrs", repr(marker.t), repr(marker.value)),
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": LOINC_NRS, "display": display}]},
            "subject": self._reference("patient"),
            "effectiveDateTime": self._utc(marker.t),
            "valueQuantity": _quantity(marker.value, "{score}"),
        }

    def alarms(self, events: Iterable[AlarmEvent]) -> Iterator[Resource]:
        """One DetectedIssue for each alarm, from its onset to its end, with every transition in words."""
        by_id: dict[str, list[AlarmEvent]] = {}
        for event in events:
            by_id.setdefault(event.event_id, []).append(event)
        for event_id, found in by_id.items():
            first, last = found[0], found[-1]
            ended = last.presence is Presence.OFF
            period = {"start": self._utc(min(event.onset for event in found))}
            acknowledged = [event for event in found if event.presence is Presence.ACK]
            words = [f"{event.presence.value} {self._utc(event.t)}" for event in found]
            issue: Resource = {
                "resourceType": "DetectedIssue",
                "id": self._id("alarm", event_id),
                "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{event_id}"}],
                "status": "final" if ended else "preliminary",
                "category": [{"coding": [_coding(first.kind.value)]}],
                "code": {"coding": [_coding(first.condition)], "text": first.condition.replace("_", " ")},
                "severity": _SEVERITY[max((event.priority for event in found), key=_PRIORITIES.index)],
                "subject": self._reference("patient"),
                "identifiedPeriod": {**period, **({"end": self._utc(last.t)} if ended else {})},
                "author": self._reference("monitor"),
                "detail": f"{first.text} ({'; '.join(words)}) RESEARCH USE ONLY",
            }
            if acknowledged:
                issue["mitigation"] = [{"action": {"text": "alarm acknowledged"}, "date": self._utc(acknowledged[0].t)}]
            yield issue

    def entry(self, resource: Resource) -> Resource:
        """A resource as an entry of the collection."""
        return {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource}

    # -- parts --------------------------------------------------------------------------------------------------------

    def _method(self, bundle: str) -> str:
        spec = self._bundles.get(bundle)
        return (
            bundle if spec is None else f"{spec.name} {spec.version}, sha256 {spec.sha256.get('model.onnx', 'unknown')}"
        )

    def _id(self, *parts: str) -> str:
        return str(uuid.uuid5(self._session, "/".join(("fhir", *parts))))

    def _reference(self, *parts: str) -> Resource:
        return {"reference": f"urn:uuid:{self._id(*parts)}"}

    def _utc(self, stamp: float) -> str:
        return _instant(stamp + self._offset)


_PRIORITIES: Final = (Priority.LOW, Priority.MEDIUM, Priority.HIGH)


def _index_value(value: float | None, why: str) -> Resource:
    if value is None or not math.isfinite(value):
        return _absent(why, "unknown" if value is None else "not-a-number")
    return {"valueQuantity": _quantity(value, "{index}")}


def _plain(measures: Comparators) -> Iterator[Resource]:
    """The plain measures as components; only the heart rate has a public code."""
    told = (
        (
            {"system": "http://loinc.org", "code": LOINC_HEART_RATE, "display": "Heart rate"},
            *(measures.heart_rate_bpm, "/min", measures.heart_rate_absent),
        ),
        (
            _coding("scr-rate", "Skin conductance responses a second, last minute"),
            *(measures.scr_per_s, "/s", measures.scr_absent),
        ),
        (
            _coding("spi-style", "SPI-style index of the pulse wave, 0-100"),
            measures.spi,
            "{index}",
            measures.spi_absent,
        ),
    )
    for coding, value, unit, absent in told:
        said = _absent(" ".join(absent)) if value is None else {"valueQuantity": _quantity(value, unit)}
        yield {"code": {"coding": [coding]}, **said}


def _absent(why: str, code: str = "unknown") -> Resource:
    return {"dataAbsentReason": {"coding": [{"system": _ABSENT, "code": code}], "text": why}}


def _quantity(value: float, code: str) -> Resource:
    return {"value": float(value), "unit": code.strip("{}"), "system": _UCUM, "code": code}


def _coding(code: str, display: str = "") -> Resource:
    return {"system": LOCAL, "code": code, **({"display": display} if display else {})}


def _instant(utc: float) -> str:
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
