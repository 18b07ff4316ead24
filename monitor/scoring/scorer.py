"""From a model's logits to probabilities: the only place where temperature and softmax are applied.

The model itself is a `Runner`, injected: ONNX Runtime live, a recorder while training data are cut, a small
function in tests. Nothing here imports a network, a screen or an inference engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from monitor.bundle import BundleSpec
from monitor.types import Float32Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawScore:
    """What a graph returns for one window."""

    logits: Float32Array
    """(classes,)."""
    features: Float32Array
    """(dimensions,) of the layer before the last."""


class Runner(Protocol):
    """Runs the graphs of one or more bundles, one window at a time, on one thread."""

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        """Score one window.

        Args:
            bundle: Name of the bundle.
            inputs: By input name, (channels, samples) float32.
        """
        ...

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """Attention maps of one window by name, shapes as in the bundle's `attention`, without a batch axis."""
        ...


def probabilities(spec: BundleSpec, logits: Float32Array) -> tuple[float, ...]:
    """Class probabilities: softmax of logits / temperature, in float64.

    Args:
        spec: The bundle; its `calibration.temperature` is applied.
        logits: (classes,) float32.

    Returns:
        One probability a class, in the bundle's order, summing to 1.

    Raises:
        ValueError: If a logit is not finite or the number of classes differs.
    """
    if logits.shape != (len(spec.classes),) or not np.isfinite(logits).all():
        raise ValueError(f"bundle {spec.name} gave logits {logits!r} for {len(spec.classes)} classes")
    scaled = logits.astype(np.float64) / spec.calibration.temperature
    weights = np.exp(scaled - scaled.max())
    return tuple(float(p) for p in weights / weights.sum())


def pain_evidence(spec: BundleSpec, probability: tuple[float, ...]) -> float | None:
    """Index of one window: 100 * sum(p * level), on the prior that the bundle states (clinical.md I2).

    Returns:
        0-100, an evidence scale and not a probability of pain; None where the bundle's target or weights allow no
        index.
    """
    if not has_index(spec):
        return None
    return 100.0 * sum(p * c.level for p, c in zip(probability, spec.classes, strict=True))


def has_index(spec: BundleSpec) -> bool:
    """Whether a bundle may draw an index and raise pain alarms: a pain target, and weights that have seen labels."""
    return spec.target == "pain" and spec.weights.alarm_eligible
