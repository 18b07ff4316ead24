"""An independent simulator to judge on: sittings made of neurokit2's own signals, with which nothing here was tuned.

ECG is its ECGSYN (McSharry et al. 2003), the pulse its PPG, breathing its RSP, skin conductance its EDA with evenly
spaced SCRs. neurokit2 knows no stimuli: an answer to pain is an SCR of its own form that follows after 1-3 s, further
ones while tonic pain lasts, and a step in heart and breathing rate, made by running its signals faster. Form, noise and
rhythm are therefore neurokit2's; sizes and times of answers are drawn from the same literature as everything here, but
neither from the tuned gains nor with fading, habituation, constriction or faults. There is no EMG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Final

import numpy as np

from models.data.recorded import Channel, FloatArray, Stretch, Track
from models.data.simulated_session import Session, draw_rates, draw_session
from monitor.errors import ConfigError, Problem
from monitor.modality import MODALITY_UNITS
from monitor.sources.physiology_population import Population, load_population
from monitor.sources.synthetic_patient import patient_seed

MODALITIES: Final = ("ECG", "EDA", "BVP", "RESP")

_HEART_RATE_BPM: Final = (58.0, 85.0)
_BREATHS_PER_MIN: Final = (12.0, 18.0)
_SKIN_LEVEL_US: Final = (2.0, 8.0)
_SCRS_PER_MIN: Final = (1.0, 5.0)
_SCR_US: Final = (0.3, 1.2)
"""Of severe pain; moderate pain gives half of it."""
_SCR_LATENCY_S: Final = (0.0, 1.2)
"""neurokit2's SCR itself begins about a second after its start."""
_FASTER: Final = (0.05, 0.15)
"""Share by which heart rate rises in severe pain (Tousignant-Laflamme et al. 2005)."""
_RISE_S: Final = 3.0
_NON_RESPONDERS: Final = 0.23
_SCR_S: Final = 9.0
_SOURCE_HZ: Final = 256
_EVERY_S: Final = 8.0
"""While tonic pain lasts, another SCR follows so often on average."""


def neurokit() -> ModuleType:
    """The library, or what to do where it is not installed.

    Raises:
        ConfigError: If it is not.
    """
    try:
        import neurokit2
    except ImportError as error:
        todo = "pip install neurokit2, or another population"
        problem = Problem("data.population", "neurokit2 is not installed", todo)
        raise ConfigError(where="[data]", problems=[problem]) from error
    module: ModuleType = neurokit2
    return module


def neurokit_session(seeds: str, number: int, people: Population) -> Session:
    """What befalls a subject: as in the cohort, but shorter, and without confounders."""
    drawn = people.session
    short = drawn.model_copy(
        update={
            "rest_s": drawn.rest_s.model_copy(update={"low": 45.0, "high": 60.0}),
            "tonic_s": drawn.tonic_s.model_copy(update={"low": 30.0, "high": 40.0}),
            "between_s": drawn.between_s.model_copy(update={"low": 20.0, "high": 25.0}),
        }
    )
    session = draw_session(seeds, number, people.model_copy(update={"session": short}))
    return Session(rest_s=session.rest_s, seconds=session.seconds, episodes=session.episodes, confounders=())


def neurokit_signals(
    seeds: str, number: int, *, modalities: Sequence[str], least_hz: Mapping[str, float]
) -> tuple[Session, tuple[Channel, ...], Stretch, bool]:
    """Generate one subject: what befell it, its channels and signals, and whether it answers to pain.

    Args:
        seeds: Range of seeds.
        number: Which subject of it.
        modalities: Of `MODALITIES`.
        least_hz: By modality, the rate below which no device is drawn.

    Raises:
        ConfigError: If neurokit2 is not installed.
    """
    nk = neurokit()
    people = load_population()
    session = neurokit_session(seeds, number, people)
    rates = draw_rates(seeds, number, people, least_hz)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([22, patient_seed(seeds, number)])))
    # Drawn in this order whatever is asked for.
    heart_rate, breaths, level, per_min, scr_us, late, faster = (
        float(rng.uniform(*span))
        for span in (
            _HEART_RATE_BPM, _BREATHS_PER_MIN, _SKIN_LEVEL_US, _SCRS_PER_MIN, _SCR_US, _SCR_LATENCY_S, _FASTER
        )
    )  # fmt: skip
    responder = bool(rng.random() >= _NON_RESPONDERS)
    random_states = {modality: int(rng.integers(2**31)) for modality in MODALITIES}
    drive = 1.0 if responder else 0.1
    scrs = [] if "EDA" not in modalities else _scrs(session, rng, drive * scr_us, late)
    # Longer by as much as its signals run faster.
    seconds = int(np.ceil(session.seconds * (1.0 + faster))) + 2
    tracks = {}
    for modality in modalities:
        rate, state = rates[modality], random_states[modality]
        t = np.arange(int(session.seconds * rate)) / rate
        if modality == "EDA":
            values = _eda(nk, t, level, per_min, scrs, session.seconds, state)
        else:
            source = _rhythm(nk, modality, seconds, heart_rate, breaths, state)
            pace = 1.0 + (drive * faster) * _course(session, t)
            at = np.concatenate([[0.0], np.cumsum(pace[:-1])]) / rate
            values = np.interp(at, np.arange(len(source)) / _SOURCE_HZ, source)
        tracks[modality.lower()] = Track(samples=values.astype(np.float32))
    channels = tuple(Channel(name=m.lower(), modality=m, unit=MODALITY_UNITS[m], rate_hz=rates[m]) for m in modalities)
    return session, channels, Stretch(name="sitting", start_s=0.0, tracks=tracks), responder


def _course(session: Session, t: FloatArray) -> FloatArray:
    """Level of the answer (n,), 0..1: first-order rise and return."""
    total = np.zeros(len(t))
    for episode in session.episodes:
        since = np.maximum(t - episode.onset_s - 1.0, 0.0)
        inside = np.minimum(since, episode.duration_s)
        held = 1.0 - np.exp(-inside / _RISE_S)
        total = np.maximum(total, episode.level * held * np.exp(-(since - inside) / (2.0 * _RISE_S)))
    return total


def _scrs(session: Session, rng: np.random.Generator, size_us: float, late_s: float) -> list[tuple[float, float]]:
    """Begin (s) and height (uS) of the SCRs that stimuli set off."""
    found = []
    for episode in session.episodes:
        at = episode.onset_s + late_s
        while at < episode.end_s or not found or found[-1][0] < episode.onset_s:
            found.append((at, size_us * episode.level * float(rng.uniform(0.7, 1.3))))
            at += float(rng.uniform(0.5, 1.5)) * _EVERY_S
    return found


def _eda(
    nk: ModuleType,
    t: FloatArray,
    level_us: float,
    per_min: float,
    scrs: Sequence[tuple[float, float]],
    seconds: float,
    state: int,
) -> FloatArray:
    """neurokit2's skin conductance (n,) in uS with its spontaneous SCRs, and SCRs of its form for stimuli."""
    whole = int(np.ceil(seconds))
    rate = 32
    count = max(1, round(per_min * seconds / 60.0))
    plain = nk.eda_simulate(
        duration=whole, sampling_rate=rate, scr_number=count, noise=0.003, drift=-0.0005, random_state=state
    )
    # One SCR of unit height above a level of one.
    form = nk.eda_simulate(duration=10, sampling_rate=rate, scr_number=1, noise=0, drift=0, random_state=1) - 1.0
    at = np.arange(whole * rate) / rate
    values = level_us + 0.2 * (np.asarray(plain, dtype=np.float64) - 1.0)
    for begin, height in scrs:
        since = at - begin
        inside = (since >= 0.0) & (since < _SCR_S)
        values[inside] += height * np.interp(since[inside], np.arange(len(form)) / rate, form)
    return np.interp(t, at, values)


def _rhythm(nk: ModuleType, modality: str, seconds: int, heart_rate: float, breaths: float, state: int) -> FloatArray:
    """neurokit2's signal of a steady rhythm (seconds * 256,)."""
    if modality == "ECG":
        values = nk.ecg_simulate(
            duration=seconds, sampling_rate=_SOURCE_HZ, heart_rate=heart_rate, heart_rate_std=2, random_state=state
        )
    elif modality == "BVP":
        values = nk.ppg_simulate(
            duration=seconds, sampling_rate=_SOURCE_HZ, heart_rate=heart_rate, motion_amplitude=0.02, random_state=state
        )
        values = 40.0 * (values - np.mean(values))
    else:
        values = nk.rsp_simulate(
            duration=seconds, sampling_rate=_SOURCE_HZ, respiratory_rate=breaths, random_state=state
        )
    found: FloatArray = np.asarray(values, dtype=np.float64)
    return found
