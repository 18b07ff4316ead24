"""From a model's logits to probabilities: the only place where temperature and softmax are applied.

The model itself is a `Runner`, injected: ONNX Runtime live, a recorder while training data are cut, a small
function in tests. Nothing here imports a network, a screen or an inference engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from monitor.bundle import BundleSpec
from monitor.types import Float32Array, Reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawScore:
    """What a graph returns for one window."""

    logits: Float32Array
    """(classes,)."""
    features: Float32Array
    """(dimensions,) of the layer before the last."""
    distance: float | None = None
    """Of the features from training (see `monitor.feature_space`); None where the bundle has no such file."""


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


def normalised_entropy(probability: Sequence[float] | None) -> float:
    """Entropy of class probabilities as a share of its greatest possible value, 0 to 1; 0 where there are none."""
    if probability is None or len(probability) < 2:
        return 0.0
    total = -sum(p * math.log(p) for p in probability if p > 0)
    return min(1.0, total / math.log(len(probability)))


def uncertainty(spec: BundleSpec, probability: Sequence[float], distance: float | None) -> tuple[str, ...]:
    """Why a window's score is not to be believed, by the bundle's own limits (clinical.md Q3).

    Args:
        spec: The bundle; its `calibration.abstain` has the limits.
        probability: One a class, after temperature.
        distance: Of the window's features from training.

    Returns:
        `uncertain:entropy`, `uncertain:unlike_training`, both, or nothing.

    Raises:
        ValueError: If the bundle limits the distance, and the runner gave none.
    """
    limits = spec.calibration.abstain
    if limits is None:
        return ()
    reasons = []
    if limits.entropy_above is not None and normalised_entropy(probability) > limits.entropy_above:
        reasons.append(Reason.ENTROPY)
    if limits.distance_above is not None:
        if distance is None:
            raise ValueError(f"bundle {spec.name} limits the distance from training, and its runner gives none")
        if not distance <= limits.distance_above:  # a distance that is no number is no nearness
            reasons.append(Reason.UNLIKE_TRAINING)
    return tuple(f"uncertain:{reason}" for reason in reasons)


def has_index(spec: BundleSpec) -> bool:
    """Whether a bundle may draw an index and raise pain alarms: a pain target, and weights that have seen labels."""
    return spec.target == "pain" and spec.weights.alarm_eligible
