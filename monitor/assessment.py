"""What one window has to offer each bundle: cut, gated, scaled inputs, or the reasons why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitor import dsp
from monitor.bundle import BundleSpec, InputSpec
from monitor.calibration import NOTHING, Calibration, input_key, needs_baseline
from monitor.images.render import render
from monitor.preprocess import Cut, InputTrack, StreamBuffer
from monitor.quality import HISTORY_S, judge
from monitor.types import STAMP_TICK, Float32Array, FloatArray, Quality, Reason


@dataclass(slots=True, eq=False)
class _Slot:
    """One input of a bundle and what feeds it."""

    spec: InputSpec
    key: str
    buffer: StreamBuffer | None = None
    track: InputTrack | None = None
    obstacle: Reason = Reason.NO_STREAM


@dataclass(frozen=True, slots=True, eq=False)
class WindowInputs:
    """One bundle's inputs at one window."""

    points: Mapping[str, Float32Array]
    """By input name, (channels, samples) float32, scaled and not yet drawn; empty where there are reasons."""
    reasons: tuple[str, ...]
    """`EDA:gap` and the like; empty where the window can be scored."""
    quality: tuple[Quality, ...]
    edges_hz: Mapping[str, tuple[float, ...]]
    delay_s: Mapping[str, float]
    calibration: str
    """`subject`, `population` where fallback statistics stand in for any input, `none` where no input refers to any."""


def drawn(spec: BundleSpec, points: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    """What the graph is given: inputs that are images are drawn now, the others are passed on.

    Apart from the rest of a window's work because a picture takes milliseconds: only what is scored is drawn.

    Args:
        spec: The bundle.
        points: `WindowInputs.points` of one of its windows.

    Returns:
        By input name, (channels, samples) or (3, size, size) float32, read-only.
    """
    arrays: dict[str, Float32Array] = {}
    for item in spec.inputs:
        values = points[item.name]
        if item.render is not None:
            values = render(values[0], item.render, rate_hz=item.rate_hz)
        arrays[item.name] = values
    return arrays


class BundlePlan:
    """Binds a bundle's inputs to streams.

    Args:
        spec: The bundle.
    """

    def __init__(self, spec: BundleSpec) -> None:
        self.spec = spec
        self.slots = [_Slot(item, input_key(item)) for item in spec.inputs]
        self.keys = tuple(dict.fromkeys(slot.key for slot in self.slots if needs_baseline(slot.spec.scale)))
        """What the bundle is calibrated on; empty where no input refers to a baseline."""
        self.scales = {slot.key: slot.spec.scale for slot in reversed(self.slots) if needs_baseline(slot.spec.scale)}
        """By key, how its first input uses the baseline."""
        self.length_s = max(item.samples / item.rate_hz for item in spec.inputs)

    @property
    def available(self) -> bool:
        """Whether every input has a stream that is fast enough."""
        return all(slot.track is not None for slot in self.slots)

    def buffers(self) -> list[StreamBuffer]:
        """Streams that feed the bundle."""
        return [slot.buffer for slot in self.slots if slot.buffer is not None]

    def attach(self, spec: InputSpec, buffer: StreamBuffer) -> None:
        """Feed an input from a stream, unless the stream is too slow for it or has another number of channels."""
        slot = next(slot for slot in self.slots if slot.spec is spec)
        if buffer.info.channels != spec.channels:
            slot.obstacle = Reason.CHANNEL_COUNT
            return
        if buffer.info.rate_hz < spec.min_rate_hz:
            slot.obstacle = Reason.RATE_TOO_LOW
            return
        slot.buffer = buffer
        slot.track = buffer.track(spec)

    def obstruct(self, modality: str, obstacle: Reason) -> None:
        """Say why a modality that nothing feeds is not fed."""
        for slot in self.slots:
            if slot.spec.modality == modality:
                slot.obstacle = obstacle

    def detach(self, buffer: StreamBuffer) -> None:
        """The stream is gone for good."""
        for slot in self.slots:
            if slot.buffer is buffer:
                slot.buffer = slot.track = None
                slot.obstacle = Reason.NO_STREAM


class Assessment:
    """Judges one window for all bundles; what is complete is worked out once.

    Args:
        plans: The bed's bundles in order of preference.
        t_end: End of the window on the stream clock.
        silent: Says whether a stream has brought nothing for so long that it is not waited for.
        skin_temperature: Gives the skin temperature that belongs to a window, in degC, None where unknown.
    """

    def __init__(
        self,
        *,
        plans: Sequence[BundlePlan],
        t_end: float,
        silent: Callable[[StreamBuffer], bool],
        skin_temperature: Callable[[float], float | None],
    ) -> None:
        self.t_end = t_end
        self._plans = plans
        self._silent = silent
        self._skin_temperature = skin_temperature
        self._inputs: dict[int, WindowInputs] = {}
        self._cuts: dict[tuple[str, int], Cut] = {}
        self._qualities: dict[tuple[str, float], Quality] = {}

    def _complete(self, buffer: StreamBuffer) -> bool:
        newest = buffer.timeline.newest
        return newest is not None and newest >= self.t_end - STAMP_TICK

    def waiting(self) -> list[bool] | None:
        """For each bundle whether something that it needs may still come; None where no bundle has its streams."""
        if not any(plan.available for plan in self._plans):
            return None
        return [
            plan.available and any(not self._complete(b) and not self._silent(b) for b in plan.buffers())
            for plan in self._plans
        ]

    def incomplete(self) -> list[StreamBuffer]:
        """Streams that the window had to be decided without."""
        buffers = {id(b): b for plan in self._plans for b in plan.buffers()}
        return [buffer for buffer in buffers.values() if not self._complete(buffer)]

    def inputs(self, position: int, calibration: Calibration) -> WindowInputs:
        """The inputs of one bundle, or the reasons why it cannot score this window."""
        known = self._inputs.get(position)
        if known is not None:
            return known
        plan = self._plans[position]
        result = self._prepare(plan, calibration)
        if all(self._complete(buffer) for buffer in plan.buffers()):
            self._inputs[position] = result
        return result

    def valid_points(self, seconds: float) -> Iterator[tuple[str, FloatArray]]:
        """For each input that is valid here and refers to a baseline: its key and the points of the last `seconds`."""
        seen: set[str] = set()
        for plan in self._plans:
            for slot in plan.slots:
                if slot.key in seen or slot.key not in plan.keys or slot.track is None:
                    continue
                cut = self._cut(slot)
                if cut.values is None or not self._quality(slot, cut).usable:
                    continue
                seen.add(slot.key)
                points = min(len(cut.values), max(1, int(seconds * slot.spec.rate_hz + 1e-9)))
                yield slot.key, cut.values[-points:]

    def _prepare(self, plan: BundlePlan, calibration: Calibration) -> WindowInputs:
        reasons: list[str] = []
        qualities: list[Quality] = []
        points: dict[str, Float32Array] = {}
        personal = True
        for slot in plan.slots:
            spec = slot.spec
            if slot.track is None:
                reasons.append(f"{spec.modality}:{slot.obstacle}")
                qualities.append(Quality(modality=spec.modality, usable=False, reasons=(slot.obstacle,)))
                continue
            cut = self._cut(slot)
            quality = self._quality(slot, cut)
            qualities.append(quality)
            baseline: dsp.Baseline | None = NOTHING
            if needs_baseline(spec.scale):
                baseline = calibration.baseline(slot.key)
                personal = personal and baseline is not None
                baseline = baseline or dsp.fallback_baseline(spec.scale)
            if cut.values is None or not quality.usable:
                reasons.extend(f"{spec.modality}:{reason}" for reason in quality.reasons)
            elif baseline is None:
                reasons.append(f"{spec.modality}:{Reason.NOT_CALIBRATED}")
            else:
                points[spec.name] = dsp.scale(cut.values, spec.scale, baseline)
        tracks = [(slot.spec.name, slot.track) for slot in plan.slots if slot.track is not None]
        return WindowInputs(
            points={} if reasons else points,
            # Two pictures of one signal say the same of it.
            reasons=tuple(dict.fromkeys(reasons)),
            quality=tuple(item for i, item in enumerate(qualities) if item not in qualities[:i]),
            edges_hz={name: track.design.edges_hz for name, track in tracks},
            delay_s={name: track.design.delay_s for name, track in tracks},
            calibration="none" if not plan.keys else "subject" if personal else "population",
        )

    def _cut(self, slot: _Slot) -> Cut:
        known = self._cuts.get((slot.key, slot.spec.samples))
        if known is not None:
            return known
        buffer, track, spec = slot.buffer, slot.track, slot.spec
        if buffer is None or track is None:
            return Cut(None, slot.obstacle)
        instants = dsp.grid(self.t_end, samples=spec.samples, rate_hz=spec.rate_hz)
        segment = buffer.timeline.covering(float(instants[0]), float(instants[-1]))
        cut = track.cut(instants, segment, silent=self._silent(buffer))
        if self._complete(buffer):
            self._cuts[slot.key, spec.samples] = cut
        return cut

    def _quality(self, slot: _Slot, cut: Cut) -> Quality:
        """Quality of the raw samples under the window; a hole in them is a quality too."""
        buffer, spec = slot.buffer, slot.spec
        if cut.values is None or buffer is None:
            reasons = () if cut.reason is None else (cut.reason,)
            return Quality(modality=spec.modality, usable=False, reasons=reasons)
        length = spec.samples / spec.rate_hz
        known = self._qualities.get((spec.modality, length))
        if known is not None:
            return known
        start = self.t_end - length
        segment = buffer.timeline.covering(start + 1.0 / spec.rate_hz, self.t_end)
        if segment is None:
            raise RuntimeError(f"a window ending at {self.t_end} has points but no segment")
        first, last = buffer.span(segment, start - HISTORY_S.get(spec.modality, 0.0), self.t_end)
        quality = judge(
            modality=spec.modality,
            times=buffer.times.view(first, last),
            values=buffer.converted(first, last),
            window_start=start,
            rate_hz=buffer.info.rate_hz,
            rails=buffer.rails,
            temperature=self._skin_temperature(self.t_end) if spec.modality == "EDA" else None,
        )
        self._qualities[(spec.modality, length)] = quality
        return quality
