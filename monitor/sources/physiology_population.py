"""The population that synthetic patients are drawn from: all its numbers, read once from population.toml.

Whoever wants other people changes the file, or takes the population `shifted`, which is made of it: every range and
spread half as wide again about its middle, more noise, other devices. What a seed means depends on the population.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError

from monitor.errors import ConfigError, MonitorError, Problem
from monitor.sources.physiology_entries import (
    Band,
    Choice,
    Course,
    Entry,
    Lognormal,
    Noise,
    Normal,
    Range,
    Table,
    Value,
)

POPULATION_FILE: Final = Path(__file__).with_name("population.toml")
POPULATIONS: Final = ("default", "shifted")

T = TypeVar("T", bound=Table)


class Shares(Table):
    """`[shares]`: who answers."""

    non_responders: Value
    responder_above: Value
    cut_sd: Value


class Rest(Table):
    """`[rest]`: a subject at rest; names as of `Profile`."""

    heart_rate_bpm: Lognormal
    rsa_bpm: Lognormal
    lf_bpm: Lognormal
    breaths_per_min: Lognormal
    pulse_transit_s: Lognormal
    p_mv: Lognormal
    q_mv: Lognormal
    r_mv: Lognormal
    s_mv: Lognormal
    t_mv: Lognormal
    pulse_gain: Lognormal
    skin_level_us: Lognormal
    scr_per_min: Lognormal
    scr_rise_s: Lognormal
    scr_decay_s: Lognormal
    muscle_mv: Lognormal
    breath_gain: Lognormal
    spo2_percent: Range
    skin_temperature_c: Range


class Strength(Table):
    """`[strength]`: what an answer amounts to; names as of `Strengths`."""

    weak: Range
    strong: Lognormal
    heart_rate_bpm: Lognormal
    vagal: Range
    constriction: Range
    muscle_mv: Lognormal
    breath_rate_per_min: Lognormal
    breath_depth: Range
    skin_level_us: Lognormal
    scr_us: Lognormal
    scr_latency_s: Range
    fade_s: Range
    exponent: Range
    saturation_percent: Value
    skin_temperature_c: Value


class Answer(Table):
    """`[answer]`: how answers to pain unfold; names as of `Effect`."""

    heart_rate: Course
    vagal: Course
    constriction: Course
    muscle: Course
    breath_rate: Course
    breath_depth: Course
    skin_level: Course
    saturation: Course
    skin_temperature: Course
    trial_size: Normal
    latency_jitter_s: Range
    scr_jitter_s: Range
    habituation: Value
    tonic_scr_rate: Value
    tonic_scr_size: Normal
    tonic_scr_delay_s: Value


class Rhythm(Table):
    """`[rhythm]`: what goes on all the time."""

    breath_drift: Band
    breath_depth: Band
    very_slow_bpm: Band
    low_frequency_bpm: Band
    heart_rate_bpm: Range
    vagal: Range
    least_breaths_per_min: Value
    beat_scatter_s: Noise
    scr_size: Lognormal
    bursts_per_min: Value
    burst_s: Range
    burst_mv: Range


class ConfounderAnswer(Table):
    """`[confounder.KIND]`: what one kind moves; names as of `Effect`."""

    motion: Value
    scr: Value
    scr_share: Value
    heart_rate: Course | None = None
    vagal: Course | None = None
    constriction: Course | None = None
    muscle: Course | None = None
    breath_rate: Course | None = None
    breath_depth: Course | None = None
    skin_level: Course | None = None


class Confounders(Table):
    """`[confounder]`."""

    size: Normal
    movement: ConfounderAnswer
    effort: ConfounderAnswer
    startle: ConfounderAnswer


class Sensor(Table):
    """`[sensor]`: what sensors add."""

    ecg_noise: Noise
    ecg_wander: Band
    ecg_breath_mv: Value
    ecg_breath_axis: Value
    ecg_motion: Noise
    bvp_noise: Noise
    bvp_wander: Band
    bvp_breath: Value
    bvp_breath_size: Value
    bvp_breath_transit_s: Value
    bvp_stiffening_s: Value
    bvp_most_constriction: Value
    bvp_motion: Noise
    eda_noise: Noise
    eda_drift: Band
    eda_motion: Noise
    eda_least_us: Value
    emg_noise: Noise
    emg_wander: Band
    emg_uneven: Band
    emg_uneven_size: Value
    resp_noise: Noise
    resp_wander: Band
    resp_motion: Noise
    spo2_noise: Noise
    spo2_wander: Band
    temp_noise: Noise
    temp_wander: Band
    movement: Band


class Pulse(Table):
    """`[pulse]`: forms of the pulse; names as of `PulseForm`."""

    finger_share: Value
    inverted_share: Value
    finger_smoothness: Range
    wrist_smoothness: Range
    drift: Range
    finger_restless: Range
    wrist_restless: Range
    rise_s: Range
    fall_s: Range
    late: Range
    turn: Range
    second_harmonic: Range
    third_harmonic: Range
    size_wander: Band
    form_wander: Band
    motion: Band
    motion_bouts: Band


class Endless(Table):
    """`[endless]`: schedules without end."""

    phasic_share: Value
    train: Range
    pause_s: Range
    tonic_s: Range
    levels: Choice
    rest_s: Range
    confounder_gap_s: Range
    confounder_strength: Range
    movement_share: Value
    effort_share: Value
    movement_s: Range
    effort_s: Range
    startle_s: Range


class Session(Table):
    """`[session]`: one sitting of the cohort."""

    rest_s: Range
    phasic_trains: Value
    phasic_per_train: Value
    pause_s: Range
    tonic_s: Range
    between_s: Range
    confounder_gap_s: Range
    confounder_strength: Range
    movement_s: Range
    effort_s: Range
    startle_s: Range


class Devices(Table):
    """`[devices]`: sampling rates by modality."""

    ECG: Choice
    EDA: Choice
    BVP: Choice
    EMG: Choice
    RESP: Choice
    SPO2: Choice
    TEMP: Choice

    def rates_hz(self) -> dict[str, tuple[float, ...]]:
        """Rates in Hz by modality."""
        return {name: getattr(self, name).values for name in type(self).model_fields}


class Faults(Table):
    """`[fault]`: faults of sensors and links."""

    per_min: Value
    size: Range
    jitter: Range
    gap_s: Range
    dropout_s: Range
    motion_s: Range
    saturation_s: Range
    drift_s: Range
    jitter_s: Range
    mains_s: Range


class Shifted(Table):
    """`[shifted]`: how the shifted population differs."""

    widen: Value
    noise: Value
    faults: Value
    devices: Devices


class Gains(Table):
    """`[gains]`: the only numbers that were tuned."""

    eda_gain: float = Field(gt=0, le=10)
    ecg_gain: float = Field(gt=0, le=10)
    tuned_for: str
    """Hash of everything else at the time."""
    eda_accuracy: float = Field(ge=0, le=1)
    """Balanced accuracy that was reached, none against severe."""
    ecg_accuracy: float = Field(ge=0, le=1)


class Population(Table):
    """All of population.toml."""

    shares: Shares
    rest: Rest
    strength: Strength
    answer: Answer
    rhythm: Rhythm
    confounder: Confounders
    sensor: Sensor
    pulse: Pulse
    endless: Endless
    session: Session
    devices: Devices
    fault: Faults
    shifted: Shifted
    gains: Gains

    def fingerprint(self) -> str:
        """Hash (sha256) of everything but the gains: what they were tuned for."""
        text = json.dumps(self.model_dump(mode="json", exclude={"gains"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_gains(self, *, eda: float, ecg: float) -> Population:
        """The same people with other gains."""
        return self.model_copy(update={"gains": self.gains.model_copy(update={"eda_gain": eda, "ecg_gain": ecg})})


def read_population(path: Path) -> Population:
    """Read a file of the form of population.toml.

    Raises:
        ConfigError: If it cannot be read, or an entry is missing, unknown, not finite or not ordered; with all of them.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(where=str(path), problems=[Problem("(syntax)", str(error))]) from error
    try:
        return Population.model_validate(tables)
    except ValidationError as error:
        problems = [Problem(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
        raise ConfigError(where=str(path), problems=problems) from error


@lru_cache(maxsize=4)
def load_population(name: str = "default") -> Population:
    """The population of that name, one of `POPULATIONS`.

    Raises:
        MonitorError: If there is none.
    """
    if name not in POPULATIONS:
        raise MonitorError(f"there is no population '{name}'", todo=f"Write {' or '.join(POPULATIONS)}")
    population = read_population(POPULATION_FILE)
    return population if name == "default" else shifted(population)


def shifted(population: Population) -> Population:
    """Other people: see the module."""
    by, noise = population.shifted.widen.value, population.shifted.noise.value
    tables: dict[str, Any] = {
        name: _wider(getattr(population, name), by) for name in ("rest", "strength", "pulse", "session", "fault")
    }
    tables["sensor"] = _noisier(population.sensor, noise)
    per_min = tables["fault"].per_min
    more = per_min.model_copy(update={"value": per_min.value * population.shifted.faults.value})
    tables["fault"] = tables["fault"].model_copy(update={"per_min": more})
    return population.model_copy(update={**tables, "devices": population.shifted.devices})


def _wider(table: T, by: float) -> T:
    changed: dict[str, Entry] = {}
    for name in type(table).model_fields:
        entry = getattr(table, name)
        if isinstance(entry, Lognormal):
            changed[name] = entry.model_copy(update={"spread": entry.spread * by})
        elif isinstance(entry, Range) and entry.distribution != "limits":
            low, high = _stretched(entry, by)
            changed[name] = entry.model_copy(update={"low": low, "high": high})
    return table.model_copy(update=changed)


def _stretched(entry: Range, by: float) -> tuple[float, float]:
    """Ends of a range that is wider about its middle, within its bounds."""
    if entry.distribution == "uniform":
        middle, half = (entry.low + entry.high) / 2, by * (entry.high - entry.low) / 2
        low, high = middle - half, middle + half
    else:
        middle, half = math.sqrt(entry.low * entry.high), math.sqrt(entry.high / entry.low) ** by
        low, high = middle / half, middle * half
    return max(low, entry.least), min(high, entry.most)


def _noisier(sensor: Sensor, by: float) -> Sensor:
    changed = {
        name: entry.model_copy(update={"sd": entry.sd * by})
        for name in type(sensor).model_fields
        if isinstance(entry := getattr(sensor, name), Noise | Band) and name != "movement"
    }
    return sensor.model_copy(update=changed)
