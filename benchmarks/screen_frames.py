"""Frames as an engine sends them, made up: for pictures of the screen, its benchmark, and its tests.

The signals are those of a simulated patient; scores, index and attention are invented, no model was run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from monitor.link import (
    LINK_VERSION,
    AlarmView,
    AttentionFrame,
    AttentionInput,
    AttentionMap,
    BedState,
    BundleView,
    CalibrationView,
    ComparatorView,
    IndexView,
    LimitsView,
    QualityView,
    Received,
    RecordingView,
    Reply,
    ScoreView,
    StateFrame,
    StreamView,
    WaveBlock,
)
from monitor.modality import MODALITY_UNITS
from monitor.sources.synthetic import SyntheticPatient

POSED_BUNDLE: Final = "no-model-posed"
"""Not the name of a model that ships: these pictures must not pass for what one of them does."""
CLASSES: Final = ("none", "moderate", "severe")
RATES: Final = {"ECG": 512.0, "EDA": 32.0, "BVP": 64.0, "EMG": 512.0, "RESP": 32.0, "SPO2": 1.0}

_FILTER_DELAY_S: Final = 0.1


def bed_state(
    *,
    k: int = 30,
    fast: float | None = 42.0,
    absent: tuple[str, ...] = (),
    modalities: tuple[str, ...] = ("ECG", "EDA"),
    **changes: Any,
) -> BedState:
    """A bed whose newest window is number k, a second long each; scored unless there are reasons."""
    shares = None if absent else _shares(fast if fast is not None else 30.0)
    fields: dict[str, Any] = {
        "bed": "bed1",
        "session": "s1",
        "subject": "P-001",
        "started": 0.0,
        "hop_s": 1.0,
        "provenance": "simulated",
        "bundle": POSED_BUNDLE,
        "bundles": (
            bundle_view(POSED_BUNDLE, ("EDA", "ECG")),
            bundle_view("crossmod-eda-bvp", ("EDA", "BVP")),
        ),
        "score": ScoreView(
            bundle=POSED_BUNDLE,
            epoch=0,
            k=k,
            t_end=float(k),
            t_rel=float(k),
            absent=absent,
            classes=CLASSES,
            levels=(0.0, 0.5, 1.0),
            probabilities=shares,
            index=None if absent else fast,
            calibration="subject",
        ),
        "index": IndexView(
            fast=fast,
            slow=None if fast is None else 0.8 * fast,
            fast_withheld="" if fast is not None else "half_empty",
            slow_withheld="",
            hollow=False,
        ),
        "quality": tuple(
            QualityView(modality=m, usable=True, reasons=(), grade="", metrics={}) for m in modalities[:2]
        ),
        "calibration": CalibrationView(state="calibrated", valid_s=120.0, needed_s=120.0),
        "comparators": ComparatorView(heart_rate_bpm=72.4, heart_rate_from="ECG", scr_per_s=0.07, spi=48.0),
        "alarms": (),
        "streams": tuple(stream_view(m) for m in modalities),
        "recording": RecordingView(recording=True, problem="", lost_records=0, lost_samples=0),
        "limits": LimitsView(moderate_on=50.0, severe_on=70.0, changed=()),
        "markers": (),
    }
    return BedState(**(fields | changes))


def state(
    bed: BedState, *, seq: int = 1, t: float | None = None, engine: str = "e1", v: int = LINK_VERSION
) -> StateFrame:
    """A frame with one bed, a moment after its newest window."""
    at = t if t is not None else (bed.score.t_end if bed.score is not None else 0.0) + 0.2
    return StateFrame(v=v, engine=engine, seq=seq, t=at, utc=1_795_260_000.0 + at, beds=(bed,))


def bundle_view(name: str, modalities: tuple[str, ...]) -> BundleView:
    """A shipped bundle."""
    return BundleView(name=name, version="1.0.0", trained_on="trained on simulated patients", modalities=modalities)


def stream_view(modality: str, **changes: Any) -> StreamView:
    """A stream that runs well."""
    fields: dict[str, Any] = {
        "key": modality,
        "name": f"Synthetic {modality}",
        "modality": modality,
        "unit": MODALITY_UNITS[modality],
        "rate_hz": RATES[modality],
        "measured_hz": RATES[modality],
        "age_s": 0.05,
        "gaps": 0,
        "lost": 0,
        "late": 0,
        "provenance": "simulated",
        "unused": "",
    }
    return StreamView(**(fields | changes))


def alarm_view(condition: str = "pain_severe", **changes: Any) -> AlarmView:
    """An alarm that nobody has seen yet."""
    fields: dict[str, Any] = {
        "condition": condition,
        "kind": "physiological" if condition.startswith("pain") else "technical",
        "priority": "medium" if condition == "pain_severe" else "low",
        "presence": "on",
        "event_id": f"id-{condition}",
        "onset": 20.0,
        "t": 25.0,
        "text": "Reassess pain: enter a score",
        "index": 78.0,
        "causes": (),
    }
    return AlarmView(**(fields | changes))


def wave(modality: str, start: float, seconds: float, *, patient: SyntheticPatient | None = None) -> WaveBlock:
    """A piece of a signal, as far as its sensor delivers without a hole.

    Args:
        modality: Which signal.
        start: Where it begins, in seconds from the patient's zero, which is also the stream clock's.
        seconds: Its length.
        patient: Whose; a calm one if left out.
    """
    patient = patient or calm_patient()
    rate = patient.rate_hz(modality)
    first = round(start * rate)
    samples, _ = patient.measured(modality, first, round((start + seconds) * rate) - first)
    return WaveBlock(
        v=LINK_VERSION,
        bed="bed1",
        stream=modality,
        modality=modality,
        unit=MODALITY_UNITS[modality],
        first_index=first,
        t0=first / rate,
        rate=rate,
        delay=_FILTER_DELAY_S,
        x=samples.astype("<f4").tobytes(),
    )


@lru_cache(maxsize=1)
def calm_patient() -> SyntheticPatient:
    """A simulated patient at rest."""
    return SyntheticPatient(part="demo", number=7, episodes=(), confounders=(), rates_hz=RATES)


def attention(k: int = 30, *, flat: bool = False, session: str = "s1") -> AttentionFrame:
    """CrossMod's maps of one window: on a few moments, or on nothing in particular."""
    at = np.arange(138)
    bump = np.ones(138) if flat else np.exp(-((at - 40) ** 2) / 60.0) + np.exp(-((at - 100) ** 2) / 30.0) + 1e-3
    row = (bump / bump.sum()).astype("<f4")
    near = np.exp(-((at[:, None] - at[None, :]) ** 2) / 300.0)
    square = np.ones((138, 138)) if flat else 0.4 * near + bump[None, :] * (0.3 + bump[:, None])
    square = (square / square.sum(axis=1, keepdims=True)).astype("<f4")
    maps = [
        AttentionMap(
            name=f"temporal.{m.lower()}", kind="temporal", axis="time", of=m, by=m, shape=(138,), x=row.tobytes()
        )
        for m in ("EDA", "ECG")
    ]
    maps += [
        AttentionMap(
            name=f"cross.{by.lower()}_from_{of.lower()}",
            kind="cross",
            axis="time",
            of=of,
            by=by,
            shape=(138, 138),
            x=square.tobytes(),
        )
        for by, of in (("EDA", "ECG"), ("ECG", "EDA"))
    ]
    inputs = tuple(
        AttentionInput(modality=m, samples=138, rate_hz=25.0, delay_s=_FILTER_DELAY_S) for m in ("EDA", "ECG")
    )
    return AttentionFrame(
        v=LINK_VERSION,
        bed="bed1",
        session=session,
        bundle=POSED_BUNDLE,
        epoch=0,
        k=k,
        t_end=float(k),
        inputs=inputs,
        maps=tuple(maps),
    )


class ScriptedLink:
    """Stands where `EngineLink` stands; gives what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.problem = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.beds: list[tuple[str, str]] = []
        self.watched: tuple[str, bool] | None = None
        self.next = Received()
        self._number = 0
        self._numbers: dict[str, int] = {}

    def watch(self, bed: str, *, attention: bool) -> None:
        """Remember what is watched."""
        self.watched = (bed, attention)

    def request(self, action: str, args: Any = None, *, bed: str = "") -> str:
        """Remember what was asked, and of which bed."""
        self.asked.append((action, dict(args or {})))
        self.beds.append((action, bed))
        self._number += 1
        self._numbers[action] = self._number
        return str(self._number)

    def receive(self) -> Received:
        """Give the next thing once."""
        given, self.next = self.next, Received()
        return given

    def give(self, **what: Any) -> None:
        """What comes next: state, waves, attention, replies."""
        self.next = Received(**what)

    def reply(self, action: str, **changes: Any) -> Reply:
        """An answer to the newest request of that kind."""
        fields: dict[str, Any] = {"id": str(self._numbers.get(action, 0)), "action": action, "ok": True}
        return Reply(**(fields | changes))


def _shares(fast: float) -> tuple[float, ...]:
    severe = min(max(fast / 100.0, 0.02), 0.9) ** 2
    none = max(0.02, 1.0 - fast / 100.0) ** 2
    return (none, 1.0 - none - severe, severe)
