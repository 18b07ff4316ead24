"""The pipeline without a model: windows are cut by what would score them, which keeps them and says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.data.simulated import CLASSES
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, InputSpec, TrainingSpec, WeightsSpec
from monitor.scoring.scorer import RawScore
from monitor.types import Float32Array


class Recorder:
    """A runner that keeps what it is asked to score, and says nothing of it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Float32Array]] = []

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        """Keep the inputs; all classes are equally likely."""
        self.seen.append(dict(inputs))
        return RawScore(logits=np.zeros(len(CLASSES), np.float32), features=np.zeros(1, np.float32))

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        """No maps."""
        return {}


def unscored_spec(name: str, inputs: Sequence[InputSpec]) -> BundleSpec:
    """Specification of a bundle that is yet to be trained: all that the pipeline needs to cut its windows."""
    return BundleSpec(
        name=name,
        version="0.0.0",
        architecture="none",
        target="pain",
        inputs=tuple(inputs),
        classes=tuple(ClassSpec(name=c, level=i / (len(CLASSES) - 1)) for i, c in enumerate(CLASSES)),
        calibration=CalibrationSpec(prior=(1.0 / len(CLASSES),) * len(CLASSES)),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="random", head="random", alarm_eligible=False),
        parameters=0,
        flops=0,
        card="",
        intended_use="cutting windows",
    )
