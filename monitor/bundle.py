"""What a model says of itself: model.json of its bundle, and the inputs that the monitor's own models have.

What a model needs (rates, filters, scaling, classes) comes from here and never from configuration. The folder that the
file lies in is `monitor.bundle_folder`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.images.spec import RenderSpec
from monitor.modality import MODALITY_UNITS, many_channels


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

    center: Literal["window_first", "window_median", "window_min", "baseline", "fixed", "none"]
    """Centre: first point, median or least value of the window, the baseline's median, or `fallback.center` always.

    `window_min` is one number over all channels."""
    spread: Literal["baseline", "window_range", "fixed", "none"]
    """Spread: IQR of the bed's calibration period, greatest - least value of the window over all channels, or
    `fallback.spread` always."""
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
    """Modality that feeds it; two inputs may be images of the same one."""
    channels: Annotated[int, Field(ge=1)] = 1
    """Channels of the stream: more than one for `ARRAY:<name>` and `EMBED:<name>`."""
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
    render: RenderSpec | None = None
    """Where the input is an image: everything that the picture depends on."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the graph is given, without the batch axis: (channels, samples), or (3, size, size)."""
        if self.render is not None:
            return (3, self.render.size, self.render.size)
        return (self.channels, self.samples)

    @model_validator(mode="after")
    def _many(self) -> InputSpec:
        if self.channels == 1:
            return self
        if not many_channels(self.modality):
            raise ValueError(
                f"input {self.name} has {self.channels} channels; only ARRAY:<name> and EMBED:<name> carry several"
            )
        if self.filter.kind != "none":
            raise ValueError(f"input {self.name} has {self.channels} channels: filter.kind must be none")
        if self.scale.center in ("window_first", "window_median"):
            raise ValueError(f"input {self.name} has {self.channels} channels; {self.scale.center} centres one")
        return self

    @model_validator(mode="after")
    def _drawable(self) -> InputSpec:
        if self.render is not None and self.channels != 1:
            raise ValueError(f"input {self.name} has {self.channels} channels; an image is drawn of one")
        if self.render is not None and self.samples < self.render.least_samples():
            needed, seconds = self.render.least_samples(), self.samples / self.rate_hz
            raise ValueError(
                f"input {self.name}: a window of {seconds:g} s has {self.samples} points, a {self.render.kind} image "
                f"needs {needed} or more"
            )
        return self


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


class AbstainSpec(_Spec):
    """Where the model is not believed: a window above either limit is uncertain, and no part of the index."""

    entropy_above: Annotated[float, Field(gt=0, le=1)] | None = None
    """Entropy of the tempered probabilities as a share of its greatest value (1: all classes alike)."""
    distance_above: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Squared Mahalanobis distance of the features from the nearest class (see `monitor.feature_space`)."""

    @model_validator(mode="after")
    def _some(self) -> AbstainSpec:
        if self.entropy_above is None and self.distance_above is None:
            raise ValueError("calibration.abstain states no limit: give entropy_above, distance_above or both")
        return self


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
    abstain: AbstainSpec | None = None
    """Limits beyond which a window is uncertain, fitted on the same subjects; None: none ever is."""


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
    stored: Literal["float32", "float16"] = "float32"
    """How they lie on disk; all computing is in float32."""


class BundleSpec(_Spec):
    """model.json."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    version: str
    architecture: str
    paper: str = ""
    """Where the architecture was published."""
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

    @property
    def origin(self) -> str:
        """Where the weights come from, in words; whatever has seen simulated subjects says so."""
        kinds = (self.weights.backbone, self.weights.head)
        if "simulated" in kinds:
            return f"trained on simulated {'patients' if self.target == 'pain' else 'subjects'}"
        if kinds == ("random", "random"):
            return "random weights, not trained"
        if kinds == ("published", "random"):
            return "published encoder, head not trained"
        if "trained" not in kinds:
            return "published weights"
        return f"{'published weights, head ' if kinds[0] == 'published' else ''}trained on {self.training.data}"

    @property
    def notice(self) -> str:
        """What every screen, line and export says of this bundle beside its name; empty where nothing is to be said."""
        if self.target != "pain":
            return f"CLASSIFIES {self.target.upper()}, NOT PAIN: no index, no alarm"
        if self.weights.backbone == "random":
            return "UNTRAINED BACKBONE: shows the pipeline, not pain"
        if (self.weights.backbone, self.weights.head) == ("published", "random"):
            return "UNTRAINED HEAD: shows the pipeline, not pain"
        return "" if self.weights.alarm_eligible else "NOT ELIGIBLE FOR ALARMS: no index, no alarm"

    @model_validator(mode="after")
    def _consistent(self) -> BundleSpec:
        if len(self.calibration.prior) != len(self.classes):
            prior = len(self.calibration.prior)
            raise ValueError(f"calibration.prior has {prior} entries for {len(self.classes)} classes")
        names = [item.name for item in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"two inputs share a name: {names}")
        maps = [item.name for item in self.attention]
        if len(set(maps)) != len(maps):
            raise ValueError(f"two attention maps share a name: {maps}")
        for item in self.inputs:
            if item.channels != 1 and "baseline" in (item.scale.center, item.scale.spread):
                raise ValueError(f"input {item.name} has {item.channels} channels; a baseline is one number")
            if "fixed" in (item.scale.center, item.scale.spread) and item.scale.fallback is None:
                raise ValueError(f"input {item.name} is scaled by fixed values, but scale.fallback does not state them")
        return self


_FILTERS: Final[Mapping[str, FilterSpec]] = {
    "EDA": FilterSpec(high_hz=1.5),
    "ECG": FilterSpec(low_hz=0.5, high_hz=40.0),
    "BVP": FilterSpec(low_hz=0.5, high_hz=8.0),
    "EMG": FilterSpec(low_hz=20.0, high_hz=200.0),
    "RESP": FilterSpec(low_hz=0.05, high_hz=1.0, warmup_s=60.0),
    "SPO2": FilterSpec(kind="none"),
}

_SCALES: Final[Mapping[str, ScaleSpec]] = {
    # Tonic EDA wanders by many times its resting spread within minutes: a frozen centre would leave the clip range.
    "EDA": ScaleSpec(center="window_first", spread="baseline", floor=0.05),
    "ECG": ScaleSpec(center="window_median", spread="baseline", floor=0.02),
    # Pulse amplitude is the signal itself, so its spread is never taken from the window.
    "BVP": ScaleSpec(center="window_median", spread="baseline", floor=1e-3, floor_relative=True),
    "EMG": ScaleSpec(center="window_median", spread="baseline", floor=0.002),
    "RESP": ScaleSpec(center="window_median", spread="baseline", floor=1e-3, floor_relative=True),
    "SPO2": ScaleSpec(center="fixed", spread="fixed", floor=1.0, fallback={"center": 97.0, "spread": 2.0}),
}


def _min_rate_hz(modality: str, rate_hz: float) -> float:
    # An R wave's shape matters to the 512 Hz models only; at 25 Hz the beats do.
    ecg = 100.0 if rate_hz <= 100.0 else 250.0
    return {"EDA": 4.0, "ECG": ecg, "BVP": 25.0, "EMG": 450.0, "RESP": 10.0, "SPO2": 0.5}[modality]


def default_input(
    modality: str,
    *,
    rate_hz: float = 25.0,
    samples: int = 138,
    fallback: Mapping[Literal["center", "spread"], float] | None = None,
) -> InputSpec:
    """The filter and scaling that the monitor's own models give a modality.

    Args:
        modality: EDA, ECG, BVP, EMG, RESP or SPO2; the input is named after it in lower case.
        rate_hz: Rate of the input grid.
        samples: Points of the window (138 at 25 Hz or 2816 at 512 Hz for the published window of 5.5 s).
        fallback: Median and IQR of the training population in the modality's unit, to stand in until a bed is
            calibrated.

    Raises:
        ValueError: If the modality has no default, or a fallback is given for one in arbitrary units: another
            device's counts say nothing about this one's.
    """
    if modality not in _SCALES:
        raise ValueError(f"modality {modality!r} has no default input; those that do: {', '.join(_SCALES)}")
    unit = MODALITY_UNITS[modality]
    if fallback is not None and unit == "a.u.":
        raise ValueError(f"{modality} is in arbitrary units and can have no fallback statistics")
    scale = _SCALES[modality]
    if fallback is not None:
        scale = scale.model_copy(update={"fallback": dict(fallback)})
    return InputSpec(
        name=modality.lower(),
        modality=modality,
        unit=unit,
        min_rate_hz=_min_rate_hz(modality, rate_hz),
        filter=_FILTERS[modality],
        rate_hz=rate_hz,
        samples=samples,
        scale=scale,
    )
