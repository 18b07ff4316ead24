"""What travels from an engine to those who look at it: the wire's own values, plain, strict where it matters.

A `StateFrame` is the whole of what a screen shows in numbers and words; `WaveBlock` carries samples and
`AttentionFrame` the maps of one window. Every frame carries `v`; within one version fields are only added, so that a
reader ignores what it does not know, and refuses a version that it does not know.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from monitor.types import Float32Array

LINK_VERSION: Final = 1
"""Version of the frames. A change that an older reader would misread raises it."""

_Model = TypeVar("_Model", bound=BaseModel)


class _Frame(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class BundleView(_Frame):
    """A bundle that a bed may be scored with."""

    name: str
    version: str
    trained_on: str
    """In words: `trained on simulated patients`."""
    notice: str = ""
    """What is said wherever the bundle's name is shown; empty where nothing is to be said."""
    target: str = "pain"
    """pain, arousal or emotion."""
    has_index: bool = True
    """Whether there can be an index and pain alarms at all."""
    modalities: tuple[str, ...]
    attention: tuple[str, ...] = ()
    """Names of its attention maps."""


class ScoreView(_Frame):
    """What the model said of the newest window, or why it said nothing."""

    bundle: str
    epoch: int
    k: int
    t_end: float
    """Stream clock."""
    t_rel: float
    absent: tuple[str, ...]
    classes: tuple[str, ...]
    levels: tuple[float, ...]
    """Pain level 0..1 of each class, to give it a colour."""
    probabilities: tuple[float, ...] | None
    index: float | None
    calibration: str
    """`subject`, `population`, or `none` where the bundle needs no calibration."""
    uncertain: tuple[str, ...] = ()
    """Why the model is not believed in this window; its class and probabilities are then left out."""


class IndexView(_Frame):
    """The pain index after the newest window."""

    fast: float | None
    slow: float | None
    fast_withheld: str
    slow_withheld: str
    hollow: bool
    vote: str = ""
    """Rule of the vote that pain alarms rest on: any, majority, weighted; empty where there is none."""
    voted: float | None = None
    votes: dict[str, float | None] = {}
    """With a vote, the fast index of every bundle by name; None where it did not vote."""


class QualityView(_Frame):
    """Whether one modality was fit to be scored over the newest window."""

    modality: str
    usable: bool
    reasons: tuple[str, ...]
    grade: str
    metrics: dict[str, float]


class CalibrationView(_Frame):
    """How far the bed's calibration is."""

    state: str
    """FHIR metric-calibration-state code."""
    valid_s: float
    needed_s: float


class ComparatorView(_Frame):
    """Plain measures beside the model, None where they cannot be taken."""

    heart_rate_bpm: float | None = None
    heart_rate_from: str = ""
    """Modality that it was taken from."""
    heart_rate_absent: tuple[str, ...] = ()
    """Why there is none: `ECG:gap`."""
    scr_per_s: float | None = None
    """Skin conductance responses a second over the last minute."""
    scr_absent: tuple[str, ...] = ()
    spi: float | None = None
    """SPI-style index of the pulse wave, 0 to 100."""
    spi_absent: tuple[str, ...] = ()


class AlarmView(_Frame):
    """One alarm condition that is present, acknowledged or latched."""

    condition: str
    kind: str
    priority: str
    presence: str
    event_id: str
    onset: float
    t: float
    text: str
    index: float | None
    causes: tuple[str, ...]
    audio: str = "on"
    """Whether it is heard: on, off, paused."""
    visual: str = "on"
    """Whether it is shown: on, paused while pain alarms are suspended."""
    count: int = 1
    """How often it has come under this id."""
    reminder: int = 0
    """How often it has been heard again since it was acknowledged."""
    hard: bool = False
    """A technical condition without which there is neither index nor pain alarm."""


class SignalsView(_Frame):
    """What of the alarms may be heard and seen now."""

    audio: str = "on"
    """on or paused; a higher priority ends a pause."""
    audio_left_s: float = 0.0
    pain: str = "on"
    """on, or paused while pain alarms are suspended."""
    pain_left_s: float = 0.0
    reason: str = ""
    """Why they are suspended."""
    delegates: tuple[str, ...] = ()
    """Clients that signal alarms in this monitor's place; while there are any it makes no sound itself."""


class StreamView(_Frame):
    """One stream of a bed."""

    key: str
    name: str
    modality: str | None
    unit: str
    """Unit in which its samples are sent on."""
    rate_hz: float
    """Nominal."""
    measured_hz: float | None
    """Over the last seconds; None before that."""
    age_s: float | None
    """Seconds since its last sample; None before the first."""
    gaps: int
    lost: int
    """Samples that its source knows to be lost."""
    late: int
    provenance: str
    unused: str
    """Why it serves no model, or was refused; empty where it serves."""
    channels: int = 1
    """Of several, samples are not sent on."""


class RecordingView(_Frame):
    """How the session database stands."""

    recording: bool
    problem: str
    lost_records: int
    lost_samples: int


class LimitsView(_Frame):
    """Limits of the index alarm."""

    moderate_on: float
    severe_on: float
    changed: tuple[str, ...]
    """Names of the alarm settings that differ from their defaults."""


class MarkerView(_Frame):
    """Something that a person entered."""

    t: float
    kind: str
    text: str
    value: float | None
    actor: str


class BedState(_Frame):
    """One bed as it stands."""

    bed: str
    session: str
    subject: str
    started: float
    """Stream clock at which the session began."""
    hop_s: float
    provenance: str
    """live, replay or simulated: the least live of what the bed hears."""
    bundle: str
    """Name of the bundle that scores, or would."""
    bundles: tuple[BundleView, ...]
    """In order of preference."""
    score: ScoreView | None
    index: IndexView | None
    quality: tuple[QualityView, ...]
    calibration: CalibrationView
    comparators: ComparatorView
    alarms: tuple[AlarmView, ...]
    """Most urgent first."""
    streams: tuple[StreamView, ...]
    recording: RecordingView
    limits: LimitsView
    markers: tuple[MarkerView, ...]
    """The newest, oldest first."""
    signals: SignalsView = SignalsView()
    """Whether alarms are paused or suspended."""


class StateFrame(_Frame):
    """Everything about all beds of an engine, four times a second."""

    v: int
    engine: str
    """Identity of the engine's process."""
    seq: int
    t: float
    """Stream clock."""
    utc: float
    """UTC at that moment."""
    beds: tuple[BedState, ...]


class WaveBlock(_Frame):
    """Contiguous raw samples of one stream, in the unit of its modality."""

    v: int
    bed: str
    stream: str
    modality: str
    """Empty for a stream that serves none."""
    unit: str
    first_index: int
    """Number of the first sample among all that the stream brought; a jump says that samples are missing between."""
    t0: float
    """Stream clock of the first sample."""
    rate: float
    delay: float
    """Delay in seconds of the filter through which the model sees this signal; 0 where none does."""
    x: bytes
    """float32, little-endian."""

    @property
    def samples(self) -> Float32Array:
        """(n,) samples."""
        return np.frombuffer(self.x, dtype="<f4")


class AttentionMap(_Frame):
    """One map of one window."""

    name: str
    kind: str
    axis: str
    of: str
    """Modality whose signal the columns (keys) belong to."""
    by: str
    """Modality whose signal the rows (queries) belong to."""
    shape: tuple[int, ...]
    x: bytes
    """float32, little-endian, row by row."""
    of_input: str = ""
    """Name of the bundle's input behind `of`, since several may be of one modality; joined by `+` where it is all."""
    by_input: str = ""
    """The same behind `by`."""

    @property
    def values(self) -> Float32Array:
        """The map, in its shape."""
        return np.frombuffer(self.x, dtype="<f4").reshape(self.shape)


class AttentionInput(_Frame):
    """The grid that an input was cut on."""

    modality: str
    samples: int
    rate_hz: float
    delay_s: float
    name: str = ""
    """Of the input."""
    channels: int = 1


class AttentionImage(_Frame):
    """The picture that the model was given of one input, as a person sees it."""

    input: str
    modality: str
    kind: str
    """How the signal was drawn: spectrogram_psd, waveform and the like."""
    height: int
    width: int
    x: bytes
    """Red, green, blue of each pixel, row by row from the top."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, 3) red, green and blue.

        Raises:
            ValueError: If there are not as many bytes.
        """
        return np.frombuffer(self.x, dtype=np.uint8).reshape(self.height, self.width, 3)


class AttentionFrame(_Frame):
    """All maps of one window."""

    v: int
    bed: str
    session: str
    bundle: str
    epoch: int
    k: int
    t_end: float
    inputs: tuple[AttentionInput, ...]
    maps: tuple[AttentionMap, ...]
    images: tuple[AttentionImage, ...] = ()


class History(_Frame):
    """Scores and indices of the last minutes, one entry a window."""

    t: tuple[float, ...]
    """Stream clock of the window ends."""
    fast: tuple[float | None, ...]
    slow: tuple[float | None, ...]
    absent: tuple[str, ...]
    """Reasons, joined by `+`; empty where there is a score that is not uncertain."""


class FrameError(ValueError):
    """A frame is not what this version of the link sends.

    Args:
        what: What is wrong.
        version: The version that the frame claims, where it is another one.
    """

    def __init__(self, what: str, *, version: int | None = None) -> None:
        super().__init__(what)
        self.version = version


def parse(model: type[_Model], content: Any) -> _Model:
    """Turn a decoded map into a frame.

    Raises:
        FrameError: If it is of another version, or no such frame.
    """
    if not isinstance(content, dict):
        raise FrameError("not a map")
    version = content.get("v")
    if version != LINK_VERSION:
        said = version if isinstance(version, int) else None
        raise FrameError(f"the engine speaks version {version} of the link, this reader {LINK_VERSION}", version=said)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'][:3]))}: {item['msg']}" for item in error.errors()[:3])
        raise FrameError(problems) from error
