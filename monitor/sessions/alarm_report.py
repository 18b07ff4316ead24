"""The alarm-burden report of a recorded session: what its alarms cost, and what is known of whether they were right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monitor.alarm import HEART_RATE, SCR_RATE, SPI
from monitor.config import AlarmSettings
from monitor.sessions.alarm_burden import NRS_WITHIN_S, PAIN, Alarm, Burden, Truth, alarms_of, burden, truth_of
from monitor.sessions.reader import SessionReader
from monitor.sessions.report import bundles_in_words, provenance
from monitor.types import AlarmAction, AlarmEvent, Marker, PainIndex, Provenance, WindowsSkipped

INDEX_AGE_S: Final = 30.0
"""An index older than this when a score was entered says nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A reported pain score, and what the monitor showed then."""

    t_rel: float
    nrs: float
    index: float | None
    """Fast index at that time; None where there was none."""
    present: tuple[str, ...]
    """Pain alarms that were present."""
    nearest: str
    """The pain alarm raised nearest to it within ten minutes; empty where there is none."""
    after_s: float | None
    """Seconds from that alarm to the report; negative where the report came first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """For how much of the session there could have been a pain alarm at all."""

    windows: int
    scored: int
    judged: int
    """Windows with an index that pain alarms rest on."""
    reasons: dict[str, int]
    """Windows without a score by reason; a window may have several."""

    @property
    def scored_share(self) -> float | None:
        """Windows with a score among all windows."""
        return self.scored / self.windows if self.windows else None

    @property
    def judged_share(self) -> float | None:
        """Windows that a pain alarm could rest on among all windows."""
        return self.judged / self.windows if self.windows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReport:
    """The alarm-burden report of one session."""

    session: str
    bed: str
    subject: str
    notice: str
    provenance: tuple[Provenance, ...]
    bundles: tuple[str, ...]
    closed: bool
    unrecorded: int
    """Spans that are not recorded; alarms in them are not counted."""
    continues: str
    """The session that this one continues after a failure; empty where it begins anew."""
    coverage: Coverage
    burden: Burden
    reports: tuple[Report, ...]
    truth: str
    """What the alarms were held against, in words."""
    heart_rate: str
    """Whether the plain comparators could alarm, in words."""


def alarm_report(reader: SessionReader) -> AlarmReport:
    """Read a session's alarms and sum them up.

    Args:
        reader: The session.

    Raises:
        SessionError: If it is damaged.
    """
    start, end = reader.span() or (0.0, 0.0)
    known = truth_in(reader)
    events = list(reader.events(AlarmEvent))
    outputs: list[AlarmEvent | AlarmAction] = [*events, *reader.events(AlarmAction)]
    indices = list(reader.indices())
    return AlarmReport(
        session=str(reader.meta.session),
        bed=reader.meta.bed,
        subject=reader.meta.subject,
        notice=reader.meta.notice,
        provenance=provenance(reader),
        bundles=bundles_in_words(reader),
        closed=reader.closed_utc is not None,
        unrecorded=len(reader.recording_gaps()),
        continues=str(reader.meta.continues) if reader.meta.continues else "",
        coverage=_coverage(reader, indices),
        burden=burden(outputs, start=start, end=end, truth=known),
        reports=_reports(known, alarms_of(events, start=start, end=end), indices, origin=reader.origin() or start),
        truth=truth_in_words(known),
        heart_rate=_comparators_in_words(reader.meta.settings.alarm),
    )


def _comparators_in_words(settings: AlarmSettings) -> str:
    limits = ((HEART_RATE, settings.heart_rate_on), (SCR_RATE, settings.scr_per_s_on), (SPI, settings.spi_on))
    without = [name for name, limit in limits if limit is None]
    said = [f"{name}: limit {limit:g} at the start, beside the pain alarms above" for name, limit in limits if limit]
    if without:
        said.append(f"{', '.join(without)}: no limit was set, {'it' if len(without) == 1 else 'they'} could not alarm")
    return "; ".join(said)


def truth_in(reader: SessionReader) -> Truth:
    """What a session itself knows of pain; simulated episodes only where every signal is simulated."""
    simulated = all(
        stream.info.provenance is Provenance.SIMULATED for stream in reader.streams() if stream.info.modality
    ) and Provenance.LIVE not in provenance(reader)
    return truth_of(reader.events(Marker), simulated=simulated)


def truth_in_words(known: Truth) -> str:
    """What alarms are held against."""
    if known.episodes:
        return (
            f"{sum(bout.stimuli for bout in known.episodes)} pain stimuli of a simulated patient, bouts: "
            f"{len(known.episodes)} (less than a minute apart: one bout), as the simulator states them: says how "
            "this software behaves, nothing about patients"
        )
    if known.reports:
        return (
            f"{len(known.reports)} reported pain scores; an alarm is true with 4 or more reported within "
            f"{NRS_WITHIN_S / 60:g} min of it. When pain began is not known: no sensitivity, no delay"
        )
    return "none: no reported score, no simulated episode. No alarm is called true or false"


def _coverage(reader: SessionReader, indices: Sequence[PainIndex]) -> Coverage:
    windows, scored, reasons, absent = 0, 0, Counter[str](), set[tuple[int, int]]()
    for score in reader.scores():
        windows += 1
        scored += not score.withheld
        reasons.update(score.withheld)
        if score.withheld:
            absent.add((score.epoch, score.k))
    for skipped in reader.events(WindowsSkipped):
        count = max(0, skipped.last_k - skipped.first_k + 1)
        windows += count
        reasons[str(skipped.reason)] += count
    judged = sum(
        index.judged is not None and bool(index.vote or (index.epoch, index.k) not in absent) for index in indices
    )
    return Coverage(windows=windows, scored=scored, judged=judged, reasons=dict(reasons.most_common()))


def _reports(
    known: Truth, alarms: Sequence[Alarm], indices: Sequence[PainIndex], *, origin: float
) -> tuple[Report, ...]:
    pain = [alarm for alarm in alarms if alarm.condition in PAIN]
    found = []
    for t, value in known.reports:
        recent = [index for index in indices if t - INDEX_AGE_S <= index.t_end <= t]
        first = [(alarm.raised[0], alarm.condition) for alarm in pain if not alarm.restored]
        raised = [(abs(t - at), at, condition) for at, condition in first]
        near = min((item for item in raised if item[0] <= NRS_WITHIN_S), default=None)
        held = [alarm.condition for alarm in pain if any(start <= t < end for start, end in alarm.present)]
        found.append(
            Report(
                t_rel=t - origin,
                nrs=value,
                index=recent[-1].fast if recent else None,
                present=tuple(dict.fromkeys(held)),
                nearest=near[2] if near else "",
                after_s=t - near[1] if near else None,
            )
        )
    return tuple(found)
