"""A recording through the whole pipeline, at any speed, with the same scores at each.

Time is the recording's own: chunks and ticks come from `monitor.sources.replay`, and the wall clock decides only how
long we wait between them.
"""

from __future__ import annotations

import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from monitor.bundle_folder import Bundle, load_bundle, shipped_bundles
from monitor.config import BedSettings, StreamSettings
from monitor.errors import BundleError, MonitorError
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import RawScore, Runner, has_index
from monitor.sources.base import Candidate, Recording
from monitor.sources.mapping import Mapped, override, resolve
from monitor.sources.replay import replay_chunks, replay_streams
from monitor.types import Chunk, Command, Event, Float32Array, Score, StreamInfo

SPAN_SHARE: Final = 2 / 3
"""Share of a calibration span that has to be valid; its beginning is spent on the filters' warm-up."""

_SESSION_NAMESPACE: Final = uuid.UUID("6f3c1f3e-1d0b-5a53-9a55-3b0c6f0d9a10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recording that is ready to be replayed."""

    recording: Recording
    bed: BedSettings
    bundles: tuple[Bundle, ...]
    mapped: Mapped
    streams: tuple[StreamInfo, ...]
    """All that is fed, with the origin of their window grid."""
    span: tuple[float, float] | None
    """Where to calibrate, in seconds from the origin; None for the first valid seconds."""
    start_s: float | None
    duration_s: float | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be told: how signals were mapped, which are not used, and what the reader noticed."""
        used = (f"{info.modality} from '{info.name}', {info.rate_hz:g} Hz, {info.unit}" for info in self.mapped.streams)
        unused = (f"not used: '{_named(candidate)}': {why}" for candidate, why in self.mapped.unused)
        have = {info.modality for info in self.mapped.streams}
        lacking = (
            f"{bundle.spec.name} cannot score: the recording brings no {' and no '.join(missing)}"
            for bundle in self.bundles
            if (missing := [item.modality for item in bundle.spec.inputs if item.modality not in have])
        )
        return (*self.recording.notes, *used, *unused, *lacking)


def _named(candidate: Candidate) -> str:
    """The signal as `--map` takes it: by its name, and by its channel where that is another."""
    own = candidate.channel in ("", candidate.name)
    return candidate.name if own else f"{candidate.name}/{candidate.channel}"


def _with_index() -> tuple[str, ...]:
    """Shipped bundles that tell of pain; the others show a pipeline, and are replayed when they are named."""
    return tuple(name for name in shipped_bundles() if has_index(load_bundle(name).spec))


def prepare(
    recording: Recording,
    *,
    bed: BedSettings | None = None,
    maps: Sequence[StreamSettings] = (),
    bundles: Sequence[str] = (),
    calibrate: tuple[float, float] | None = None,
    start_s: float | None = None,
    duration_s: float | None = None,
) -> Replay:
    """Map a recording and load the models.

    Args:
        recording: What to replay.
        bed: Settings; None for the defaults with all shipped bundles that have an index and whose signals are
            recorded.
        maps: Streams that go before those of the bed.
        bundles: Names that go before those of the bed.
        calibrate: Take the baseline between these, in seconds from the origin.
        start_s: Play from here, in seconds from the recording's zero.
        duration_s: Play so much.

    Raises:
        MonitorError: If the span is none, the mapping would be a guess, or a bundle is missing or damaged.
    """
    settings = (bed or BedSettings(name="replay")).model_dump()
    names = tuple(bundles) or (bed.bundles if bed is not None else _with_index())
    if not names:
        raise BundleError("no model bundle is shipped with this copy", todo="Make them with `make bundles`")
    settings |= {"bundles": names, "stream": override(bed.stream if bed is not None else (), maps)}
    if calibrate is not None:
        start, end = calibrate
        if not 0 <= start < end or end - start < 15:
            raise MonitorError(
                f"--calibrate {start:g}:{end:g} is no span to calibrate on",
                todo="Write START:END in seconds from the start, at least 15 s apart, e.g. 0:120",
            )
        settings["calibration_s"] = min(float(settings["calibration_s"]), SPAN_SHARE * (end - start))
    chosen = BedSettings.model_validate(settings)
    loaded = tuple(load_bundle(name) for name in names)
    needed = {item.modality for bundle in loaded for item in bundle.spec.inputs}
    candidates = [signal.candidate for signal in (*recording.signals, *recording.arrays)]
    # A configuration means the same signals here as it does for the daemon, or their scores could not agree.
    named = bed is not None and bool(bed.stream)
    mapped = resolve(candidates, chosen.stream, bed=chosen.name, live=False, needed=needed, only_named=named)
    if bed is None and not bundles:
        have = {info.modality for info in mapped.streams}
        fed = tuple(bundle for bundle in loaded if have >= {item.modality for item in bundle.spec.inputs})
        loaded = fed or loaded
        chosen = chosen.model_copy(update={"bundles": tuple(bundle.spec.name for bundle in loaded)})
    streams = replay_streams(recording, (*mapped.streams, *mapped.shown), start_s=start_s)
    return Replay(
        recording=recording,
        bed=chosen,
        bundles=loaded,
        mapped=mapped,
        streams=streams,
        span=calibrate,
        start_s=start_s,
        duration_s=duration_s,
    )


def run(replay: Replay, *, runner: Runner, speed: float | None = None) -> Iterator[tuple[float, list[Event]]]:
    """Replay, step by step.

    Args:
        replay: What to replay.
        runner: Runs its bundles.
        speed: Seconds of recording a second; None for as fast as can be. The events do not depend on it.

    Yields:
        Stream time in seconds from the recording's zero, and the events of one step.
    """
    # The same recording and settings give the same session, and so the same event ids.
    session = uuid.uuid5(_SESSION_NAMESPACE, f"{replay.recording.path.name}\n{replay.bed.model_dump_json()}")
    specs = [bundle.spec for bundle in replay.bundles]
    pipeline = Pipeline(bed=replay.bed, bundles=specs, runner=runner, session=session)
    items = replay_chunks(
        replay.recording,
        replay.streams,
        start_s=replay.start_s,
        duration_s=replay.duration_s,
        tail_s=replay.bed.allowed_lateness_s,
    )
    first: float | None = None
    began = time.monotonic()
    for at, item in items:
        if first is None:
            first = at
            yield at, _open(pipeline, replay, at)
        if speed is not None and (ahead := (at - first) / speed - (time.monotonic() - began)) > 0:
            time.sleep(ahead)
        if isinstance(item, Chunk):
            yield at, pipeline.feed(item)
        elif isinstance(item, Command):
            yield at, pipeline.command(item)
        else:
            yield at, pipeline.tick(at)


def _open(pipeline: Pipeline, replay: Replay, at: float) -> list[Event]:
    events = [event for info in replay.streams for event in pipeline.open_stream(info, at)]
    if replay.span is not None:
        args = {"start": replay.span[0], "end": replay.span[1]}
        events += pipeline.command(Command(action="calibrate_span", at=at, actor="replay", args=args))
    return events


class AttentionFile:
    """A runner that also explains each window that it scores, and writes the maps as they come into a .npz file.

    The file holds `<map>/<number>` for each map of each scored window, and at the end `t_end`, the windows' ends in
    seconds from the origin, by number.

    Args:
        path: The file to write; one that is there is replaced.
        runner: Does the work.

    Raises:
        MonitorError: If the file cannot be made.
    """

    def __init__(self, path: Path, runner: Runner) -> None:
        self._runner = runner
        self._maps: dict[str, Float32Array] = {}
        self._ends: list[float] = []
        try:
            self._file = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        except OSError as error:
            raise MonitorError(f"cannot be written ({error.strerror})", where=str(path)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._write("t_end", np.array(self._ends))
        self._file.close()

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        """Score a window, and keep its maps for `take`."""
        score = self._runner.score(bundle, inputs)
        self._maps = self._runner.explain(bundle, inputs)
        return score

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """Attention maps of one window."""
        return self._runner.explain(bundle, inputs)

    def take(self, events: Sequence[Event]) -> None:
        """Write the maps of the window among these events, if one was scored."""
        for event in events:
            if isinstance(event, Score) and event.probabilities is not None:
                for name, values in self._maps.items():
                    self._write(f"{name}/{len(self._ends):06d}", values)
                self._ends.append(event.t_rel)

    def _write(self, name: str, values: np.ndarray) -> None:
        with self._file.open(f"{name}.npy", "w") as entry:
            np.lib.format.write_array(entry, np.ascontiguousarray(values))
