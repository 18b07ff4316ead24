"""Pictures of the real dashboard in nine states, for the documentation: `python -m benchmarks screenshots`.

The window, its panels and its model are those of the product, and so are the signals of the simulated patient. The
numbers are posed: index, probabilities, attention and alarms come from no model, so that each state can be shown at
will and a picture changes only where the screen does.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from PIL import Image

from benchmarks.report import Figure, Result
from benchmarks.screen_frames import (
    RATES,
    ScriptedLink,
    alarm_view,
    attention,
    bed_state,
    state,
    stream_view,
    wave,
)
from benchmarks.screen_models import PosedModel, posed_models
from monitor.link import (
    AttentionFrame,
    BedState,
    CalibrationView,
    ComparatorView,
    EngineLink,
    IndexView,
    MarkerView,
    QualityView,
    Reply,
    StreamView,
)
from monitor.sources.synthetic import Artefact, PainEpisode, SyntheticPatient
from monitor.types import FloatArray

if TYPE_CHECKING:
    from PySide6.QtGui import QImage

SIZES: Final = ((1280, 800), (1920, 1080))
"""Sizes of the window: the smallest that the design serves, and a usual screen."""
DEFAULT_OUT: Final = Path("docs/screenshots")

_MODALITIES: Final = ("ECG", "BVP", "EDA", "EMG", "RESP", "SPO2")
_SCORED: Final = ("EDA", "ECG")
_LEAD_IN_S: Final = 14
"""Seconds played before the picture is taken: the traces' ten, and some for their scales to settle."""
_LONG_S: Final = 900
"""The whole span of the trend."""
_LARGEST_KB: Final = 150.0
_AFTER_WINDOW_S: Final = 0.2
_FREQUENT: Final = 208
"""Of a picture's 256 colours, those that go to the most frequent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """One state of the screen."""

    name: str
    patient: SyntheticPatient
    course: FloatArray
    """(n,) what each window of 1 s, from the session's first on, would have scored; NaN where it had no score."""
    scr_per_s: float
    spi: float | None = 46.0
    bed: dict[str, Any] = field(default_factory=dict)
    """What differs from a bed that runs well at the moment of the picture and shortly before."""
    unscored: tuple[str, ...] = ()
    """Reasons, as long as the course has no score."""
    silent: tuple[tuple[str, float], ...] = ()
    """Modalities whose sensor is silent, and since when."""
    model: PosedModel | None = None
    """A model of another kind than CrossMod."""
    silence_s: float = 0.0
    """For how long the engine has not been heard when the picture is taken."""


def run(*, quick: bool, out: Path = DEFAULT_OUT) -> Result:
    """Write all pictures.

    Args:
        quick: One size in place of two.
        out: Folder that they are written to; made if it is not there.
    """
    # Before Qt is loaded. The clock on the screen shows local time, which should not depend on who takes the picture.
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["TZ"] = "UTC"
    time.tzset()
    out.mkdir(parents=True, exist_ok=True)
    sizes = SIZES[:1] if quick else SIZES
    figures = []
    for pose in poses():
        for width, height in sizes:
            path = out / f"{pose.name}-{width}x{height}.png"
            _take(pose, path, width=width, height=height)
            kilobytes = path.stat().st_size / 1e3
            figures.append(Figure(name=path.name, value=kilobytes, unit="kB", aim=_LARGEST_KB, sense="at most"))
    return Result(
        name="screenshots",
        measured=f"Written to {out}. Signals of a simulated patient; index, class, attention and alarms are posed.",
        figures=tuple(figures),
    )


def poses() -> list[Pose]:
    """All states, in the order in which the documentation shows them."""
    patient = partial(SyntheticPatient, part="demo", number=7, confounders=(), responder=True, rates_hz=RATES)
    rest = patient(episodes=())
    calm = _course(seed=1, bump=(260.0, 330.0, 44.0), level=13.0)
    pain = _course(seed=2, bump=(780.0, 1000.0, 70.0), level=12.0)
    off = _course(seed=3, bump=(200.0, 260.0, 30.0), level=15.0)
    came_off = _LONG_S - 36
    off[came_off:] = np.nan
    # The patch lies on the table, flat at zero, for thirty seconds; then its transmitter goes.
    dropout = Artefact(kind="dropout", modality="EDA", onset_s=float(came_off), duration_s=60.0, size=0.0)
    return [
        Pose(name="calm", patient=rest, course=calm, scr_per_s=0.05, bed={"markers": _markers()}),
        Pose(
            name="alarming",
            patient=patient(episodes=[PainEpisode.phasic(onset, 1.0) for onset in np.arange(780.0, _LONG_S, 9.0)]),
            course=pain,
            scr_per_s=0.12,
            spi=84.0,
            bed={"alarms": (alarm_view(index=float(_mean(pain, 10))),), "markers": _markers()},
        ),
        Pose(
            name="calibrating",
            patient=rest,
            course=_course(seed=4, bump=(0.0, 0.0, 0.0), level=21.0)[:66],
            scr_per_s=0.05,
            spi=None,
            bed={"calibration": CalibrationView(state="calibrating", valid_s=58.0, needed_s=120.0)},
        ),
        Pose(
            name="sensor-off",
            patient=patient(episodes=(), artefacts=(dropout,)),
            course=off,
            scr_per_s=0.00,
            unscored=("EDA:no_data",),
            silent=(("EDA", came_off + 30.0),),
            bed={
                "alarms": (alarm_view("unscorable", causes=("EDA:no_data",), index=None),),
                "comparators": ComparatorView(
                    heart_rate_bpm=_heart_rate(rest, _LONG_S),
                    heart_rate_from="ECG",
                    scr_absent=("EDA:no_data",),
                    spi=46.0,
                ),
                "markers": _markers(),
            },
        ),
        Pose(
            name="disconnected",
            patient=rest,
            course=calm,
            scr_per_s=0.05,
            silence_s=6.0,
            bed={"markers": _markers()},
        ),
        *(
            Pose(
                name=name,
                patient=rest,
                course=calm,
                scr_per_s=0.05,
                model=model,
                bed=_calibration(model) | {"markers": _markers()},
            )
            for name, model in posed_models().items()
        ),
    ]


def _take(pose: Pose, path: Path, *, width: int, height: int) -> None:
    """Open a window, play the last seconds of a pose, and save what it shows."""
    from PySide6.QtWidgets import QApplication

    from monitor.dashboard import theme
    from monitor.dashboard.window import DashboardWindow

    application = QApplication.instance() or QApplication([])
    theme.apply(cast(QApplication, application))
    now = 0.0
    link = ScriptedLink()
    window = DashboardWindow(link=cast(EngineLink, link), clock=lambda: now)
    window.close_without_asking = True
    try:
        window.resize(width, height)
        window.show()
        last = len(pose.course)
        for k in range(last - _LEAD_IN_S, last + 1):
            now = k + _AFTER_WINDOW_S
            pieces = [wave(name, now - 1.0, 1.0, patient=pose.patient) for name in _MODALITIES]
            scored = bool(np.isfinite(pose.course[k - 1]))
            link.give(
                state=state(_bed(pose, k), seq=k, t=now),
                waves=tuple(piece for piece in pieces if piece.x),
                attention=_attention(pose, k) if scored else None,
                replies=tuple(_history(link, pose, k)),
            )
            window.tick()
            QApplication.processEvents()
        now += pose.silence_s
        for _ in range(3):  # the layout settles on what it has to say
            window.tick()
            QApplication.processEvents()
        _save(window.grab().toImage(), path)
    finally:
        window.close()
        theme.rescale(window, 1.0)
        window.deleteLater()


def _save(image: QImage, path: Path) -> None:
    """Save as a PNG of 256 colours, a third of the size and the same to the eye."""
    image = image.convertToFormat(image.Format.Format_RGB888)
    pixels = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), image.bytesPerLine())
    colours = pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
    picture = Image.fromarray(colours)
    # Median cut keeps what is frequent and would lose the colour of a short bar, coverage keeps what is rare.
    cuts = ((_FREQUENT, Image.Quantize.MEDIANCUT), (256 - _FREQUENT, Image.Quantize.MAXCOVERAGE))
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for many, method in cuts for part in _palette(picture, many, method)])
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def _palette(picture: Image.Image, many: int, method: Image.Quantize) -> list[int]:
    """The red, green and blue of `many` colours, one after another; the last repeated where there are fewer."""
    found = (picture.quantize(many, method=method).getpalette() or [0, 0, 0])[: 3 * many]
    return found + found[-3:] * (many - len(found) // 3)


def _bed(pose: Pose, k: int) -> BedState:
    """The bed as it stands after window k."""
    course = pose.course[:k]
    absent = () if np.isfinite(course[-1]) else pose.unscored
    fast, slow = _mean(course, 10), _mean(course, 120)
    hollow = pose.name == "calibrating"
    silent = dict(pose.silent)
    fields: dict[str, Any] = {
        "subject": pose.patient.subject,
        "streams": tuple(_stream(name, k, silent.get(name)) for name in _MODALITIES),
        "quality": tuple(
            QualityView(modality=name, usable=name not in silent, reasons=(), grade="", metrics={}) for name in _SCORED
        ),
        "comparators": ComparatorView(
            heart_rate_bpm=_heart_rate(pose.patient, k), heart_rate_from="ECG", scr_per_s=pose.scr_per_s, spi=pose.spi
        ),
        "index": IndexView(
            fast=None if np.isnan(fast) else float(fast),
            slow=None if np.isnan(slow) else float(slow),
            fast_withheld="half_empty" if np.isnan(fast) else "",
            slow_withheld="half_empty" if np.isnan(slow) else "",
            hollow=hollow,
        ),
    }
    shown = 30.0 if absent else float(course[-1])
    bed = bed_state(k=k, fast=shown, absent=absent, modalities=_MODALITIES, **(fields | pose.bed))
    if hollow and bed.score is not None:
        bed = bed.model_copy(update={"score": bed.score.model_copy(update={"calibration": "population"})})
    return bed if pose.model is None else _of_model(bed, pose.model)


def _attention(pose: Pose, k: int) -> AttentionFrame:
    return attention(k) if pose.model is None else pose.model.attention(k, pose.patient)


def _calibration(model: PosedModel) -> dict[str, Any]:
    """Only the body's signals are scaled by a baseline."""
    if "EDA" in model.view.modalities:
        return {}
    return {"calibration": CalibrationView(state="unspecified", valid_s=0.0, needed_s=0.0)}


def _of_model(bed: BedState, model: PosedModel) -> BedState:
    """The bed with another model's classes, and without an index where it has none."""
    shares = (0.61, 0.27, 0.12)
    changes: dict[str, Any] = {
        "bundles": (model.view, *bed.bundles[1:]),
        "streams": (*bed.streams, *model.streams),
        "quality": tuple(
            QualityView(modality=name, usable=True, reasons=(), grade="", metrics={}) for name in model.view.modalities
        ),
    }
    if bed.score is not None and not model.view.has_index:
        changes["score"] = bed.score.model_copy(
            update={"classes": model.classes, "levels": (0.0,) * 3, "probabilities": shares, "index": None}
        )
        withheld = {"fast_withheld": "no_index", "slow_withheld": "no_index"}
        changes["index"] = IndexView(fast=None, slow=None, hollow=False, **withheld)
    return bed.model_copy(update=changes)


def _stream(name: str, k: int, silent_since: float | None) -> StreamView:
    if silent_since is None or k <= silent_since:
        return stream_view(name)
    return stream_view(name, age_s=k + _AFTER_WINDOW_S - silent_since)


def _history(link: ScriptedLink, pose: Pose, k: int) -> list[Reply]:
    """The answer to the window's question for the trend, if it has just asked."""
    asked = {action for action, *_ in link.asked}
    link.asked.clear()  # it also says each second what it has seen
    if "history" not in asked:
        return []
    ends = range(1, k + 1)
    has_index = pose.model is None or pose.model.view.has_index
    course = pose.course if has_index else np.full_like(pose.course, np.nan)
    fast, slow = ([_mean(course[:end], span) for end in ends] for span in (10, 120))
    absent = ["" if np.isfinite(value) else "+".join(pose.unscored) for value in pose.course[:k]]
    said = {
        "t": [float(end) for end in ends],
        "fast": [None if np.isnan(value) else value for value in fast],
        "slow": [None if np.isnan(value) else value for value in slow],
        "absent": absent,
    }
    return [link.reply("history", result=said)]


def _course(*, seed: int, bump: tuple[float, float, float], level: float) -> FloatArray:
    """Scores about a level, with one rise of some seconds' slope between two moments."""
    t = np.arange(_LONG_S, dtype=np.float64)
    start, stop, height = bump
    rise = height * _step(t - start) * _step(stop - t) if stop > start else 0.0
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(_LONG_S + 7)
    return np.clip(level + rise + 3.0 * np.convolve(noise, np.ones(8) / 3.0, mode="valid"), 2.0, 98.0)


def _step(t: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-t / 5.0))


def _mean(course: FloatArray, span: int) -> np.float64 | float:
    """Mean of the scores of the last `span` windows; NaN where fewer than half of them have one."""
    scores = course[-span:]
    known = scores[np.isfinite(scores)]
    return known.mean() if len(known) >= span / 2 else float("nan")


def _heart_rate(patient: SyntheticPatient, k: int) -> float:
    beats = patient.beats_until(float(k))
    return float(60.0 / np.diff(beats[beats > k - 10.0]).mean())


def _markers() -> tuple[MarkerView, ...]:
    return (MarkerView(t=_LONG_S - 590.0, kind="procedure", text="turned over", value=None, actor="operator"),)
