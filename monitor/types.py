"""The vocabulary: plain frozen values that travel from a source to a screen. Nothing here does any work.

Time is float64 seconds on the stream clock unless a name says otherwise (`t_rel` counts from the bed's origin, `utc`
from 1970). Arrays are read-only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Float32Array: TypeAlias = NDArray[np.float32]

STAMP_TICK: Final = 2.0**-20
"""Stamps are whole multiples of this (0.95 us): exact in float64, storable as small integers, and therefore equal
whether a sample arrived alone, in a burst, or out of a session database."""

BED_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Provenance(StrEnum):
    """Where a signal comes from; it is shown wherever the signal or anything made of it is shown."""

    LIVE = "live"
    REPLAY = "replay"
    SIMULATED = "simulated"


class Reason(StrEnum):
    """Why something is absent or unusable. Written `EDA:gap` where it belongs to one modality."""

    STARTING = "starting"  # the window begins before the first sample of the stream
    NO_STREAM = "no_stream"  # nothing is mapped to this modality
    NO_DATA = "no_data"  # the stream is silent
    LATE = "late"  # the samples had not arrived when the window had to be decided
    GAP = "gap"
    NOT_FINITE = "not_finite"
    WARMING_UP = "warming_up"  # the filters have not settled since the last gap
    CLOCK_FAULT = "clock_fault"
    CLOCK_JUMP = "clock_jump"  # windows skipped because the bed's clock was set anew
    RATE_FAULT = "rate_fault"
    RATE_TOO_LOW = "rate_too_low"
    CHANNEL_COUNT = "channel_count"  # the stream has another number of channels than the bundle takes
    UNIT_UNKNOWN = "unit_unknown"
    NOT_CALIBRATED = "not_calibrated"
    OUT_OF_RANGE = "out_of_range"
    SLOPE = "slope"
    FLAT = "flat"
    SATURATED = "saturated"
    LOW_SNR = "low_snr"
    NO_BEATS = "no_beats"
    MAINS = "mains"
    ARTEFACT = "artefact"  # within 5 s after an EDA artefact
    TEMPERATURE = "skin_temperature"
    BUNDLE_CHANGED = "bundle_changed"
    HALF_EMPTY = "half_empty"  # too few valid scores for a mean
    MODEL_FAULT = "model_fault"
    NO_INDEX = "no_index"  # the bundle's target or weights allow none
    ENTROPY = "entropy"  # the model is uncertain: its classes are too much alike
    DRIFT = "drift"  # the signal has left the baseline of its calibration
    UNLIKE_TRAINING = "unlike_training"  # the model is uncertain: the window is unlike what it was trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One mapped stream of one bed, as announced before its first sample."""

    key: str
    """Unique within the bed, stable over reconnects; `Chunk.stream` refers to it."""
    bed: str
    modality: str | None
    """None where the stream is shown and stored but serves no model; `unused` then says why."""
    name: str
    """As the device or file calls it."""
    unit: str | None
    """Unit of the samples as they come."""
    rate_hz: float
    """Nominal sampling rate; where `rate_measured`, the first estimate of it."""
    source: str
    """Kind of source: lsl, mqtt, csv, opensignals, xdf, edf, wfdb, e4, synthetic, session."""
    provenance: Provenance
    gain: float = 1.0
    """Value in the modality's unit = `gain` * sample + `offset`."""
    offset: float = 0.0
    channels: int = 1
    origin: float | None = None
    """Announced start of the window grid on the stream clock, if any."""
    rate_measured: bool = False
    """The rate is not promised: the fit follows the stamps without a rate fault."""
    jitter_s: float = 0.02
    """A stamp may be off its prediction by this or 1.5 periods, whichever is more, before it is a gap."""
    rails: tuple[float, float] | None = None
    """Lowest and highest value the converter can give, in the source's unit, where they are known."""
    unused: str = ""
    """Why the stream serves no model, in words; empty where it does."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Samples of one stream as they arrived.

    Args:
        stream: `StreamInfo.key`.
        samples: (n,) or (n, channels) float32 in the source's unit; n may be 0.
        stamps: (n,) float64 seconds on the stream clock, multiples of `STAMP_TICK` (see `snap`).
        arrival: Seconds on the stream clock when it reached us.
        lost: Samples that the source knows to have been lost just before this chunk.
        clock_offset: What was added to the sender's stamps, in seconds; kept for the record.
    """

    stream: str
    samples: Float32Array
    stamps: FloatArray
    arrival: float
    lost: int = 0
    clock_offset: float = 0.0

    def __post_init__(self) -> None:
        if self.samples.dtype != np.float32 or self.stamps.dtype != np.float64:
            raise TypeError(f"samples must be float32 and stamps float64, not {self.samples.dtype}/{self.stamps.dtype}")
        if len(self.samples) != len(self.stamps):
            raise ValueError(f"{len(self.samples)} samples with {len(self.stamps)} stamps in stream {self.stream!r}")
        self.samples.flags.writeable = False
        self.stamps.flags.writeable = False

    def __len__(self) -> int:
        return len(self.stamps)


def snap(stamps: FloatArray | float) -> FloatArray:
    """Round stamps in seconds to whole multiples of `STAMP_TICK`, sample by sample.

    Because each stamp is rounded alone, the result does not depend on how samples were grouped into chunks.
    """
    return np.round(np.asarray(stamps, dtype=np.float64) / STAMP_TICK) * STAMP_TICK


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Whether one modality is fit to be scored over one window."""

    modality: str
    usable: bool
    reasons: tuple[Reason, ...] = ()
    grade: str = ""
    """Where the modality has grades: `full`, `beats`, `unusable` for ECG."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the decision rests on, by name with unit: `snr_db`, `flat_s`, `slope_us_per_s`, `heart_rate_bpm`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """One aligned cut (t_end - length, t_end] of all inputs of one bundle, preprocessed and scaled."""

    bed: str
    bundle: str
    epoch: int
    """Counts up when the bed's clock had to be set anew; (epoch, k) names a window."""
    k: int
    """`t_end` = origin + k * hop."""
    t_end: float
    inputs: Mapping[str, Float32Array]
    """By input name: (channels, samples), or (3, size, size) where it is an image; float32."""
    delay_s: Mapping[str, float]
    """By input name: delay of the filter in its pass band, in seconds."""
    edges_hz: Mapping[str, tuple[float, ...]]
    """By input name: the filter edges that were used (an edge above 0.45 of the stream's rate is left out)."""


class CalibrationState(StrEnum):
    """FHIR metric-calibration-state codes (clinical.md C1)."""

    NOT_CALIBRATED = "not-calibrated"
    CALIBRATING = "calibrating"
    CALIBRATED = "calibrated"
    REQUIRED = "calibration-required"
    UNSPECIFIED = "unspecified"  # the bundle refers to no baseline: there is nothing to calibrate


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the model said of one window, or why it said nothing. There is exactly one for every window."""

    bed: str
    bundle: str
    """Name of the bundle that scored, or that would have."""
    epoch: int
    k: int
    t_end: float
    """Stream clock."""
    t_rel: float
    """Seconds from the origin of the window grid."""
    absent: tuple[str, ...]
    """Reasons, e.g. `EDA:gap`; empty where there is a score."""
    calibration: str
    """`subject`, `population` while fallback statistics stand in, `none` where the bundle refers to neither."""
    calibration_state: CalibrationState
    classes: tuple[str, ...]
    probabilities: tuple[float, ...] | None
    """Same order as `classes`, after temperature; None where absent."""
    index: float | None
    """100 * sum(p * level) of this window alone; None where absent or uncertain, or the bundle has no index."""
    logits: tuple[float, ...] | None
    quality: tuple[Quality, ...]
    edges_hz: Mapping[str, tuple[float, ...]]
    delay_s: Mapping[str, float]
    window_hash: str | None
    """BLAKE2b-128 of the input arrays, to prove bit-equality; None where absent."""
    provenance: Provenance
    decided_at: float
    """Stream clock (arrival time of what completed it)."""
    uncertain: tuple[str, ...] = ()
    """Why the model is not believed here: `uncertain:entropy`, `uncertain:unlike_training`; empty where it is. The
    probabilities then stand for the record only; there is no index of the window, and none is made with it."""
    distance: float | None = None
    """Squared Mahalanobis distance of the features from training; None where the bundle has no limit on it."""
    drift: tuple[str, ...] = ()
    """Signals that have left the baseline that the score refers to: `EDA:drift`."""

    @property
    def withheld(self) -> tuple[str, ...]:
        """Why this window tells nothing: it has no score, or an uncertain one; empty where it tells something."""
        return self.absent or self.uncertain

    @property
    def told(self) -> tuple[float, ...] | None:
        """The probabilities that may be shown: None where there are none, and where they are uncertain."""
        return None if self.uncertain else self.probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class PainIndex:
    """The index after one window: a fast and a slow mean over valid scores of one bundle."""

    bed: str
    bundle: str
    epoch: int
    k: int
    t_end: float
    t_rel: float
    fast: float | None
    """Mean over the last 10 s; None where withheld."""
    slow: float | None
    """Mean over the last 120 s; None where withheld."""
    fast_withheld: str
    """Reason, empty where `fast` stands."""
    slow_withheld: str
    hollow: bool
    """Drawn hollow, and pain alarms off: not calibrated to this subject."""
    vote: str = ""
    """Rule of the vote of several bundles (`monitor.scoring.vote`) that alarms rest on; empty where there is none."""
    voted: float | None = None
    """What it came to; None where nobody could vote, or there is none."""
    votes: Mapping[str, float | None] = field(default_factory=dict)
    """With a vote, the fast index of every bundle by name; None where it did not vote on this window."""

    @property
    def judged(self) -> float | None:
        """What pain alarms are held against: the vote where there is one, else the fast mean unless it is hollow."""
        return self.voted if self.vote else None if self.hollow else self.fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparators:
    """Plain measures beside the index of one window, each made without any model; see `monitor.scoring.measures`.

    Each is None where it cannot be told, and its `absent` then says why: `BVP:gap`, `EDA:no_stream`.
    """

    bed: str
    epoch: int
    k: int
    t_end: float
    t_rel: float
    heart_rate_bpm: float | None
    heart_rate_from: str
    """Modality that it is taken from: ECG, else BVP; empty where there is none."""
    heart_rate_absent: tuple[str, ...]
    scr_per_s: float | None
    """Skin conductance responses a second over the last minute."""
    scr_from: str
    scr_absent: tuple[str, ...]
    spi: float | None
    """SPI-style index of the pulse wave, 0 to 100 (`monitor.scoring.pleth`)."""
    spi_from: str
    spi_absent: tuple[str, ...]


ALARM_RULES: Final = "5"
"""Version of the alarm rules, kept in every session: by other rules other alarms may come of the same log."""


class AlarmKind(StrEnum):
    """The two chains of clinical.md A1."""

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class Priority(StrEnum):
    """Alarm priorities; pain is never `high` (clinical.md A3)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Presence(StrEnum):
    """FHIR/SDC alarm presence (clinical.md A2)."""

    ON = "on"
    OFF = "off"
    LATCHED = "latched"
    ACK = "ack"


class Activation(StrEnum):
    """FHIR/SDC activation of an alarm's signals (clinical.md A2)."""

    ON = "on"
    OFF = "off"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvent:
    """One transition of one alarm condition, or of its signals."""

    bed: str
    condition: str
    """`pain_moderate`, `pain_severe`, `no_data`, `unscorable`, ..."""
    kind: AlarmKind
    priority: Priority
    presence: Presence
    event_id: str
    """uuid5 of session, condition and onset: the same in replay, after a restart, and in an outbox."""
    onset: float
    """Stream clock at which the condition began to hold."""
    t: float
    """Stream clock of this transition."""
    t_rel: float
    text: str
    """Asks for reassessment or names the fault; never advises a drug."""
    index: float | None
    bundle: str
    causes: tuple[str, ...] = ()
    before: Presence = Presence.OFF
    """Presence until this transition."""
    actor: str = ""
    """Who brought it about; empty where nobody did."""
    audio: Activation = Activation.ON
    """Whether it is to be heard from now on; with `reminder`, once."""
    visual: Activation = Activation.ON
    """Whether it is to be shown; `paused` while pain alarms are suspended."""
    count: int = 1
    """How often the condition has come under this id."""
    reminder: int = 0
    """Which reminder of a condition that was acknowledged and is still there; 0 for any other transition."""
    hard: bool = False
    """A technical condition without which there is neither index nor pain alarm; else it only warns."""
    limit: float | None = None
    """Limit in force, in index points or in the comparator's unit; None for technical conditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmAction:
    """Alarms are signalled or limited otherwise from now on: an operator asked for it, or its time was over."""

    bed: str
    t: float
    """Stream clock."""
    t_rel: float
    action: str
    """audio_pause, suspend, resume, limits; with an empty `actor` it ended by itself."""
    actor: str
    before: Mapping[str, Any]
    """What stood before, by name: `audio`, `audio_until`, `pain`, `pain_until`, or alarm settings."""
    after: Mapping[str, Any]
    """What stands now, under the same names."""
    text: str


class StreamEventKind(StrEnum):
    """What can befall a stream."""

    OPENED = "opened"
    SEGMENT = "segment"  # samples (again) contiguous from here on
    GAP = "gap"
    LATE = "late"
    NOT_FINITE = "not_finite"
    CLOCK_FAULT = "clock_fault"
    CLOCK_OK = "clock_ok"
    RATE_FAULT = "rate_fault"
    RATE_OK = "rate_ok"
    LOST = "lost"  # the source itself counted losses
    REFUSED = "refused"
    SEARCHING = "searching"  # not found yet; it is still looked for
    GONE = "gone"  # the connection ended or fell silent; it is looked for anew


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """Something that befell a stream, for the record and the screen."""

    bed: str
    stream: str
    kind: StreamEventKind
    t: float
    """Stream clock of the first sample concerned."""
    seconds: float = 0.0
    """Length of a gap or of a clock jump; 0 where it has none."""
    samples: int = 0
    """Samples concerned."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsSkipped:
    """Windows that were never decided because the bed's clock was set anew: accounted for as one range."""

    bed: str
    epoch: int
    first_k: int
    last_k: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationEvent:
    """The calibration of a bed changed its state, or gained a valid second."""

    bed: str
    t: float
    state: CalibrationState
    valid_s: float
    needed_s: float
    baseline: Mapping[str, tuple[float, float, float]]
    """By input key: (centre, spread, range) in the modality's unit; empty until calibrated."""
    causes: tuple[str, ...] = ()
    """Why it is required again: `EDA:drift`."""
    slow: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By input key: (centre, spread) of the last minutes beside the frozen ones (`monitor.drift`), where known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A marker or a reported score (NRS 0-10) that a person entered."""

    bed: str
    t: float
    kind: str
    """stimulus, procedure, movement, drug, note, nrs."""
    text: str
    value: float | None
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something that an operator asks of a bed's pipeline."""

    action: str
    """See `monitor.pipeline.Pipeline.command`."""
    at: float
    """Stream clock."""
    actor: str
    args: Mapping[str, Any] = field(default_factory=dict)


Event: TypeAlias = (
    StreamEvent
    | WindowsSkipped
    | CalibrationEvent
    | Score
    | PainIndex
    | Comparators
    | AlarmEvent
    | AlarmAction
    | Marker
)
