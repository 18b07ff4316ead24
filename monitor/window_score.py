"""One window and one bundle become one score, or the reasons why there is none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from monitor.assessment import BundlePlan, WindowInputs, drawn
from monitor.bundle import BundleSpec
from monitor.calibration import Calibration
from monitor.preprocess import StreamBuffer
from monitor.scoring.scorer import Runner, pain_evidence, probabilities, uncertainty
from monitor.types import Float32Array, Provenance, Reason, Score, Window

_log = logging.getLogger(__name__)

_RANK: Final[Mapping[Provenance, int]] = MappingProxyType(
    {Provenance.LIVE: 0, Provenance.REPLAY: 1, Provenance.SIMULATED: 2}
)


class WindowScorer:
    """Runs the bundles of one bed.

    Args:
        bed: Name of the bed.
        runner: Runs their graphs.
        calibration: How far each input is calibrated.
        buffers: The streams of the bed by key.
    """

    def __init__(
        self, *, bed: str, runner: Runner, calibration: Calibration, buffers: Mapping[str, StreamBuffer]
    ) -> None:
        self.window: Window | None = None
        """The newest window that was scored and shown; None before the first."""
        self._bed = bed
        self._runner = runner
        self._calibration = calibration
        self._buffers = buffers

    def score(
        self,
        plan: BundlePlan,
        item: WindowInputs,
        *,
        epoch: int,
        k: int,
        t_end: float,
        t_rel: float,
        decided_at: float,
        shown: bool,
    ) -> Score:
        """Score one window with one bundle; a graph that fails costs this window only.

        Args:
            plan: The bundle and its streams.
            item: Its inputs, or why there are none.
            epoch: Of the window.
            k: Its number.
            t_end: Its end on the stream clock.
            t_rel: The same in seconds from the origin.
            decided_at: Stream clock of what completed it.
            shown: Whether this is the score that is shown: its window is kept then.
        """
        spec = plan.spec
        absent = item.reasons
        arrays: dict[str, Float32Array] = {}
        logits: Float32Array | None = None
        probability: tuple[float, ...] | None = None
        uncertain: tuple[str, ...] = ()
        distance: float | None = None
        if not absent:
            try:
                arrays = drawn(spec, item.points)
                raw = self._runner.score(spec.name, arrays)
                logits, distance = raw.logits, raw.distance
                probability = probabilities(spec, logits)
                uncertain = uncertainty(spec, probability, distance)
            # Whatever a graph or its runtime raises costs this window only: the path to the alarm must survive it.
            except Exception:  # noqa: BLE001
                _log.exception("bed %s: bundle %s failed on window %d", self._bed, spec.name, k)
                absent, logits, probability, distance = (str(Reason.MODEL_FAULT),), None, None, None
        if shown and not absent:
            self.window = Window(
                bed=self._bed,
                bundle=spec.name,
                epoch=epoch,
                k=k,
                t_end=t_end,
                inputs=arrays,
                delay_s=item.delay_s,
                edges_hz=item.edges_hz,
            )
        return Score(
            bed=self._bed,
            bundle=spec.name,
            epoch=epoch,
            k=k,
            t_end=t_end,
            t_rel=t_rel,
            absent=absent,
            calibration=item.calibration,
            calibration_state=self._calibration.state(plan.keys),
            classes=tuple(item.name for item in spec.classes),
            probabilities=probability,
            index=None if probability is None or uncertain else pain_evidence(spec, probability),
            logits=None if logits is None else tuple(float(value) for value in logits),
            quality=item.quality,
            edges_hz=item.edges_hz,
            delay_s=item.delay_s,
            window_hash=None if absent else _window_hash(arrays),
            provenance=self._provenance(plan),
            decided_at=decided_at,
            uncertain=uncertain,
            distance=distance if _limits_distance(spec) else None,
            drift=self._calibration.drift(plan.keys),
        )

    def _provenance(self, plan: BundlePlan) -> Provenance:
        """The least live of the streams that a bundle reads; of all streams where it has none."""
        used = [b.info.provenance for b in plan.buffers()] or [b.info.provenance for b in self._buffers.values()]
        return max(used, key=_RANK.__getitem__, default=Provenance.LIVE)


def _limits_distance(spec: BundleSpec) -> bool:
    return spec.calibration.abstain is not None and spec.calibration.abstain.distance_above is not None


def _window_hash(arrays: Mapping[str, Float32Array]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
