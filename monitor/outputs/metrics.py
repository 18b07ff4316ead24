"""Numbers of all beds for Prometheus, on loopback only. docs/metrics.md names them.

They are made when they are asked for. A value that no longer holds is left out, never repeated: an index stands only
while windows are decided. Beds, conditions, modalities and streams are labels; subject codes and texts never are.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from monitor.clock import Clock
from monitor.config import BedSettings, MetricsSettings
from monitor.errors import EngineError
from monitor.outputs.base import EngineLoad
from monitor.types import AlarmEvent, Comparators, Event, PainIndex, Presence, Score, StreamEvent, StreamEventKind

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

ADDRESS: Final = "127.0.0.1"

BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Upper edges of the latency histograms; beyond the last one there is infinity."""

_STALE_S: Final = 10.0
_PREFIX: Final = "pain_monitor_"


class Box(Protocol):
    """An output that keeps what it could not deliver yet."""

    name: str

    @property
    def waiting(self) -> int:
        """What waits."""
        ...

    @property
    def given_up(self) -> int:
        """What was never delivered."""
        ...


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[sum(seconds > edge for edge in BUCKETS_S)] += 1
        self._sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        total, rows = 0, []
        for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), self._counts, strict=True):
            total += count
            rows.append((edge, float(total)))
        return rows

    @property
    def total_s(self) -> float:
        return self._sum


@dataclass(slots=True, eq=False)
class _BedNumbers:
    hop_s: float
    score: Score | None = None
    seen_at: float = 0.0
    index: PainIndex | None = None
    measures: Comparators | None = None
    windows: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    streams: Counter[tuple[str, str]] = field(default_factory=Counter)
    gap_s: dict[str, float] = field(default_factory=dict)
    alarms: dict[str, AlarmEvent] = field(default_factory=dict)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    reminders: Counter[str] = field(default_factory=Counter)
    decided: _Histogram = field(default_factory=_Histogram)
    delivered: _Histogram = field(default_factory=_Histogram)


class MetricsOutput:
    """An `Output` (see monitor/outputs/base.py) that answers Prometheus.

    Args:
        beds: The beds.
        settings: The port.
        clock: The engine's clock.
        version: Version of the monitor.
    """

    def __init__(self, *, beds: Sequence[BedSettings], settings: MetricsSettings, clock: Clock, version: str) -> None:
        self.name = "metrics"
        self._port = settings.port
        self._clock = clock
        self._version = version
        self._lock = threading.Lock()
        self._beds = {bed.name: _BedNumbers(bed.hop_s) for bed in beds}
        self._load: Callable[[], EngineLoad] | None = None
        self._boxes: tuple[Box, ...] = ()
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def watch(self, load: Callable[[], EngineLoad], boxes: Sequence[Box] = ()) -> None:
        """Also tell what an engine says of itself, and what outputs hold back. To be called before `open`."""
        self._load, self._boxes = load, tuple(boxes)

    def open(self) -> None:
        """Listen.

        Raises:
            EngineError: If the port is taken.
        """
        self.close()
        try:
            self._server = start_http_server(self._port, addr=ADDRESS, registry=self._registry)
        except OSError as error:
            what = f"cannot be listened to, so Prometheus finds nothing ({error.strerror or error})"
            todo = "End the program that has it, or set another metrics.port"
            raise EngineError(what, where=f"port {self._port} on {ADDRESS}", todo=todo) from error

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Count what one step of a bed's pipeline gave."""
        now = self._clock.now()
        with self._lock:
            numbers = self._beds[bed]
            for event in events:
                match event:
                    case Score():
                        _count_score(numbers, event, now)
                    case PainIndex():
                        numbers.index = event
                    case Comparators():
                        numbers.measures = event
                    case StreamEvent():
                        numbers.streams[event.stream, event.kind.value] += 1
                        if event.kind is StreamEventKind.GAP:
                            numbers.gap_s[event.stream] = numbers.gap_s.get(event.stream, 0.0) + event.seconds
                    case AlarmEvent():
                        if event.reminder:
                            numbers.reminders[event.condition] += 1
                        elif event.presence is not event.before:  # else it is only signalled otherwise
                            numbers.transitions[event.condition, event.presence.value] += 1
                        if event.presence is Presence.OFF:
                            numbers.alarms.pop(event.condition, None)
                        else:
                            numbers.alarms[event.condition] = event

    def close(self) -> None:
        """Stop listening. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server[0].shutdown()
            server[0].server_close()
            server[1].join()

    # -- what Prometheus is told --------------------------------------------------------------------------------------

    def describe(self) -> list[Metric]:
        """Nothing is promised in advance; see `prometheus_client.registry.Collector`."""
        return []

    def collect(self) -> list[Metric]:
        """Every family with its samples as they stand."""
        now = self._clock.now()
        with self._lock:
            families = [
                *_of_windows(self._beds, now),
                *_of_latency(self._beds),
                *_of_streams(self._beds),
                *_of_alarms(self._beds),
            ]
        info = _gauge("info", "Version of the monitor. RESEARCH USE ONLY: no number here may guide care", "version")
        info.add_metric([self._version], 1.0)
        return [info, *families, *self._of_engine()]

    def _of_engine(self) -> Iterator[Metric]:
        if self._load is None:
            return
        load = self._load()
        queue = _gauge("queue", "What waits in a queue of the engine", "queue")
        for name, count in load.waiting.items():
            queue.add_metric([name], count)
        dropped = _counter("dropped", "What a full queue dropped: chunks of a source, event lists of an output", "of")
        for name, count in load.dropped.items():
            dropped.add_metric([name], count)
        failures = _counter("failures", "How often a source or an output failed and was opened anew", "of")
        for name, count in load.failures.items():
            failures.add_metric([name], count)
        lost = _gauge("lost_records", "Records of the bed's session that could not be written", "bed")
        for name, count in load.lost_records.items():
            lost.add_metric([name], count)
        rebuilt = _counter("pipelines_rebuilt", "How often the bed's pipeline failed and was built anew", "bed")
        for name, count in load.rebuilt.items():
            rebuilt.add_metric([name], count)
        age = _gauge("pipeline_age_seconds", "Since the pipeline's last sign of life")
        age.add_metric([], load.pipeline_age_s)
        held = _gauge("undelivered", "Alarm transitions that an output still holds", "output")
        given_up = _counter("given_up", "Alarm transitions that an output will never deliver", "output")
        for box in self._boxes:
            held.add_metric([box.name], box.waiting)
            given_up.add_metric([box.name], box.given_up)
        checks = _counter("selfchecks", "Self-checks of each route that alarms take")
        checks.add_metric([], load.checks)
        missed = _counter("selfchecks_missed", "Self-checks that a route failed", "route")
        proved = _gauge("route_works", "1 where a route has nothing wrong with it, by its last self-check", "route")
        for name, wrong in load.unproved.items():
            missed.add_metric([name], load.missed.get(name, 0))
            proved.add_metric([name], float(not wrong))
        yield from (queue, dropped, failures, lost, rebuilt, age, held, given_up, checks, missed, proved)


def _count_score(numbers: _BedNumbers, score: Score, now: float) -> None:
    numbers.score, numbers.seen_at = score, now
    numbers.windows["absent" if score.absent else "uncertain" if score.uncertain else "scored"] += 1
    numbers.absent.update(score.absent)
    numbers.decided.add(max(0.0, score.decided_at - score.t_end))
    numbers.delivered.add(max(0.0, now - score.t_end))


def _of_windows(beds: Mapping[str, _BedNumbers], now: float) -> Iterator[Metric]:
    index = _gauge("index", "Pain index, 0-100; left out where withheld or old", "bed", "mean", "bundle", "hollow")
    p = _gauge("probability", "Class probability of the last window; left out where absent or old", "bed", "class")
    usable = _gauge("usable", "Whether the modality was fit to be scored in the last window", "bed", "modality")
    age = _gauge("score_age_seconds", "Since a window was last decided, with or without a score", "bed")
    origin = _gauge("provenance", "1 for where the signals come from: live, replay, simulated", "bed", "provenance")
    plain = _gauge("comparator", "Plain measure beside the model; left out where it cannot be told", "bed", "measure")
    windows = _counter("windows", "Windows decided", "bed", "result")
    absent = _counter("absent", "Windows without a score, by each of their reasons", "bed", "reason")
    for bed, numbers in beds.items():
        for result in ("scored", "absent", "uncertain"):
            windows.add_metric([bed, result], numbers.windows[result])
        for reason, count in numbers.absent.items():
            absent.add_metric([bed, reason], count)
        score = numbers.score
        if score is None:
            continue
        age.add_metric([bed], now - numbers.seen_at)
        origin.add_metric([bed, score.provenance.value], 1.0)
        if now - numbers.seen_at > _STALE_S + 2.0 * numbers.hop_s:
            continue
        for name, value in zip(score.classes, score.told or (), strict=False):
            p.add_metric([bed, name], value)
        for quality in score.quality:
            usable.add_metric([bed, quality.modality], float(quality.usable))
        found = numbers.index
        if found is not None and (found.epoch, found.k) == (score.epoch, score.k):
            for mean, value_or_none in (("fast", found.fast), ("slow", found.slow)):
                if value_or_none is not None:
                    index.add_metric([bed, mean, found.bundle, str(int(found.hollow))], value_or_none)
        measures = numbers.measures
        if measures is not None and (measures.epoch, measures.k) == (score.epoch, score.k):
            for name in ("heart_rate_bpm", "scr_per_s", "spi"):
                if (told := getattr(measures, name)) is not None:
                    plain.add_metric([bed, name], told)
    yield from (index, plain, p, usable, age, origin, windows, absent)


def _of_latency(beds: Mapping[str, _BedNumbers]) -> Iterator[Metric]:
    decided = _histogram("decision_seconds", "From a window's end until what completed it had arrived", "bed")
    delivered = _histogram("delivery_seconds", "From a window's end until its score reached the outputs", "bed")
    for bed, numbers in beds.items():
        decided.add_metric([bed], numbers.decided.buckets(), numbers.decided.total_s)
        delivered.add_metric([bed], numbers.delivered.buckets(), numbers.delivered.total_s)
    yield from (decided, delivered)


def _of_streams(beds: Mapping[str, _BedNumbers]) -> Iterator[Metric]:
    events = _counter("stream_events", "What befell a stream: gap, late, lost, gone ...", "bed", "stream", "kind")
    gaps = _counter("gap_seconds", "Length of all gaps of a stream", "bed", "stream")
    for bed, numbers in beds.items():
        for (stream, kind), count in numbers.streams.items():
            events.add_metric([bed, stream, kind], count)
        for stream, seconds in numbers.gap_s.items():
            gaps.add_metric([bed, stream], seconds)
    yield from (events, gaps)


def _of_alarms(beds: Mapping[str, _BedNumbers]) -> Iterator[Metric]:
    labels = ("bed", "condition", "kind", "priority", "presence")
    present = _gauge("alarm", "1 for every alarm that is present, latched or acknowledged", *labels)
    changes = _counter("alarm_transitions", "Changes of presence of alarms", "bed", "condition", "presence")
    reminders = _counter("alarm_reminders", "Reminders of acknowledged alarms that stay", "bed", "condition")
    for bed, numbers in beds.items():
        for alarm in numbers.alarms.values():
            values = [bed, alarm.condition, alarm.kind.value, alarm.priority.value, alarm.presence.value]
            present.add_metric(values, 1.0)
        for (condition, presence), count in numbers.transitions.items():
            changes.add_metric([bed, condition, presence], count)
        for condition, count in numbers.reminders.items():
            reminders.add_metric([bed, condition], count)
    yield from (present, changes, reminders)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, text, labels=labels)


def _histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(_PREFIX + name, text, labels=labels)
