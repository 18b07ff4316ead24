"""A model bundle: the folder {model.onnx, explain.onnx, model.json}, read and validated. Never runs a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FilterSpec(_Spec):
    """Causal Butterworth filter of one input, as second-order sections at the stream's own rate."""

    kind: Literal["butterworth", "none"] = "butterworth"
    """`none`: no filter beyond the anti-alias low-pass."""
    order: Annotated[int, Field(ge=1, le=8)] = 2
    """Order of each edge."""
    low_hz: float | None = None
    """High-pass corner."""
    high_hz: float | None = None
    """Low-pass corner."""
    state: Literal["carried", "window"] = "carried"
    """`carried`: one filter runs along the stream; `window`: it starts afresh at each window's first sample."""
    warmup_s: float | None = None
    """Seconds after a start during which output is not used; None: time to 1e-3 of the step response."""


class ScaleSpec(_Spec):
    """(x - centre) / max(spread, floor), clipped to +-clip."""

    center: Literal["window_first", "window_median", "baseline", "fixed", "none"]
    """Centre: first point or median of the window, the baseline's median, or `fallback.center` always."""
    spread: Literal["baseline", "fixed", "none"]
    """Spread: IQR of the bed's calibration period, or `fallback.spread` always."""
    floor: float
    """Smallest spread, in the modality's unit, or as a share of the calibration range where `floor_relative`."""
    floor_relative: bool = False
    """`floor` is a share of the calibration range (max - min)."""
    clip: float = 20.0
    """Largest absolute value after scaling."""
    fallback: dict[Literal["center", "spread"], float] | None = None
    """Statistics of the training population, until the bed is calibrated; None: absent until then."""


class InputSpec(_Spec):
    """One input of the graph."""

    name: str
    """Name of the ONNX input."""
    modality: str
    """Modality that feeds it."""
    unit: str
    """Unit that it was trained in."""
    min_rate_hz: float
    """Streams below this are refused."""
    filter: FilterSpec
    rate_hz: float
    """Rate of the input grid."""
    samples: int
    """Points of the window; point j lies at t_end - (samples - 1 - j) / rate_hz."""
    scale: ScaleSpec
    render: dict[str, float | int | str | bool] | None = None
    """Where the input is an image: everything that the picture depends on."""


class ClassSpec(_Spec):
    """One class of the output."""

    name: str
    level: Annotated[float, Field(ge=0, le=1)]
    """Pain level that the index gives it."""


class AttentionSpec(_Spec):
    """One attention map among the outputs of explain.onnx."""

    name: str
    """Name of the ONNX output, e.g. `cross.eda_from_ecg`."""
    kind: str
    """self, cross, temporal, embedding, channel, gate, modality, rollout."""
    axis: Literal["time", "token", "channel", "image", "modality"]
    """What its axes run over; only `time` may be drawn over a waveform."""
    of: str
    """Input whose signal the columns (keys) belong to."""
    by: str
    """Input whose signal the rows (queries) belong to."""
    shape: tuple[int, ...]


class CalibrationSpec(_Spec):
    """How the probabilities were calibrated."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    prior: tuple[float, ...]
    """Class prior that the probabilities stand on."""
    ece: float | None = None
    bins: tuple[tuple[float, float, int], ...] = ()
    """(mean confidence, share right, count) per bin."""
    subjects: tuple[str, ...] = ()
    """Subjects that the temperature was fitted on."""


class TrainingSpec(_Spec):
    """What the weights were trained on."""

    data: str
    protocol: Literal["paper", "live-segment", "live-stream", "none"]
    subjects: dict[str, tuple[str, ...]] = {}
    """Subject codes by part: train, validation, calibration, test."""
    metrics: dict[str, float | str] = {}
    seeds: tuple[int, ...] = ()


class WeightsSpec(_Spec):
    """Where the weights come from, and whether they may alarm."""

    backbone: Literal["simulated", "random", "published", "none"]
    head: Literal["simulated", "random", "published", "trained"]
    alarm_eligible: bool


class BundleSpec(_Spec):
    """model.json."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    version: str
    architecture: str
    target: Literal["pain", "arousal", "emotion"]
    inputs: Annotated[tuple[InputSpec, ...], Field(min_length=1)]
    hop_seconds: float = 1.0
    classes: Annotated[tuple[ClassSpec, ...], Field(min_length=2)]
    attention: tuple[AttentionSpec, ...] = ()
    calibration: CalibrationSpec
    training: TrainingSpec
    weights: WeightsSpec
    parameters: int
    flops: int
    """Operations a window, at 2 per multiply-accumulate."""
    parity: dict[str, float | str] = {}
    """What the export check measured."""
    card: str
    """File name of the model card."""
    intended_use: str
    sha256: dict[str, str] = {}
    """Of every other file of the bundle, and under `model.json` of the canonical model.json without this key."""

    @model_validator(mode="after")
    def _consistent(self) -> BundleSpec:
        if len(self.calibration.prior) != len(self.classes):
            raise ValueError(f"calibration.prior has {len(self.calibration.prior)} entries for {len(self.classes)} classes")
        names = [item.name for item in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"two inputs share a name: {names}")
        return self
