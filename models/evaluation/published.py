"""What the articles report, to be printed beside our own figures, with what differs.

Hardly any published figure was measured as ours are: epochs were chosen on the tested people, or hyper-parameters, or
the trial was cut and scaled with knowledge of the whole recording. So a published value is `same_protocol` only where
data, windows, classes, division and choice of the model are the same; for the present articles that is nowhere.
Values that cannot be what their text says are kept, because readers will look for them, and are no targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from models.data.settings import SIMULATED

Division = Literal["loso", "k-fold", "official"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published value, and how it stands to a figure of ours."""

    method: str
    """As in our tables; `crossmod`, `fcn-eda`, ..."""
    article: str
    data: str
    """Kind of data set."""
    protocol: str = "paper"
    division: Division
    classes: int
    figure: str
    """Of `models.evaluation.summary.Row.figures`."""
    value: float
    """0 to 1."""
    signals: str
    differs: tuple[str, ...] = ()
    """What about its own making differs from ours on the same data."""
    target: bool = True
    """Whether it can be what its text says."""
    same_protocol: bool = False
    why: str = ""
    """Why the two are or are not to be compared; filled in by `beside`."""


_CROSSMOD: Final = "CrossMod-Transformer, 2025"
_PAINATTNNET: Final = "PainAttnNet, 2023"
_MULTIMODAL: Final = "m-PainAttnNet, project page and notebook"
_BIOMOE: Final = "Tiny-BioMoE, 2025"
_PAINFORMER: Final = "PainFormer, 2025"

_NO_VALIDATION: Final = "learning rate and dropout were searched on the evaluated people, who had no validation part"
_ON_VALIDATION: Final = "chosen and reported on the same official validation people"
_BEST_EPOCH: Final = "the epoch with the best accuracy on the tested person was reported"
_CARRIED: Final = (
    "weights had been trained on the tested people in earlier folds, by its own notebook: 97 to 99 % on all four "
    "tasks, even where physiology carries almost nothing"
)


def _biovid(method: str, signals: str, ten_fold: float, loso: float) -> tuple[Published, ...]:
    one = Published(
        method=method,
        article=_CROSSMOD,
        data="biovid-a",
        division="loso",
        classes=2,
        figure="accuracy",
        value=loso / 100.0,
        signals=signals,
        differs=(_NO_VALIDATION,),
    )
    return one, replace(one, division="k-fold", value=ten_fold / 100.0)


def _ai4pain(method: str, signals: str, accuracy: float, f1: float) -> tuple[Published, ...]:
    one = Published(
        method=method,
        article=_CROSSMOD,
        data="ai4pain-2025",
        division="official",
        classes=3,
        figure="accuracy",
        value=accuracy / 100.0,
        signals=signals,
        differs=(_ON_VALIDATION,),
    )
    return one, replace(one, figure="macro_f1", value=f1 / 100.0)


def _tainted(method: str, task: str, accuracy: float, *, target: bool = False) -> Published:
    return Published(
        method=method,
        article=_MULTIMODAL,
        data="biovid-a",
        division="loso",
        classes=2,
        figure="accuracy",
        value=accuracy / 100.0,
        signals=f"EDA, ECG, EMG; {task}",
        differs=(_BEST_EPOCH,) if target else (_CARRIED, _BEST_EPOCH),
        target=target,
    )


PUBLISHED: Final[tuple[Published, ...]] = (
    *_biovid("crossmod", "EDA, ECG", 85.92, 87.52),
    *_biovid("fat-eda", "EDA", 85.21, 86.12),
    *_biovid("alstm-eda", "EDA", 82.45, 84.56),
    *_biovid("fcn-eda", "EDA", 78.46, 80.05),
    *_biovid("fat-ecg", "ECG", 64.94, 65.17),
    *_biovid("alstm-ecg", "ECG", 62.84, 63.59),
    *_biovid("fcn-ecg", "ECG", 61.82, 62.27),
    *_ai4pain("crossmod", "EDA, BVP", 75.83, 74.63),
    *_ai4pain("fat-eda", "EDA", 73.17, 72.95),
    *_ai4pain("alstm-eda", "EDA", 72.04, 71.42),
    *_ai4pain("fcn-eda", "EDA", 69.72, 71.84),
    *_ai4pain("fat-bvp", "BVP", 71.27, 70.76),
    *_ai4pain("alstm-bvp", "BVP", 70.52, 70.04),
    *_ai4pain("fcn-bvp", "BVP", 68.51, 70.48),
    Published(
        method="painattnnet",
        article=_PAINATTNNET,
        data="biovid-a",
        division="loso",
        classes=2,
        figure="accuracy",
        value=0.8556,
        signals="EDA",
        differs=(_BEST_EPOCH,),
    ),
    _tainted("mscn", "T0 against T4", 79.569, target=True),
    _tainted("mscn-se", "T0 against T4", 98.592),
    _tainted("painattnnet-early", "T0 against T4", 97.931),
    _tainted("painattnnet-late", "T0 against T4", 99.023),
    replace(
        _tainted("mscn-se", "told of five classes; it is T0 against T3, two classes", 98.793),
        classes=5,
        differs=(_CARRIED, "there is no model of five classes in its repository"),
    ),
    Published(
        method="tiny-biomoe",
        article=_BIOMOE,
        data="ai4pain-2025",
        division="official",
        classes=3,
        figure="accuracy",
        value=0.8241,
        signals="EDA, BVP, respiration, SpO2; two images each",
        differs=(_ON_VALIDATION, "its test set gave 54.89 %", "the backbone was pretrained on 14 tasks"),
    ),
    Published(
        method="painformer",
        article=_PAINFORMER,
        data="biovid-a",
        division="loso",
        classes=2,
        figure="accuracy",
        value=0.8899,
        signals="EDA, waveform image",
        differs=(
            "augmentation and epochs were chosen on the tested people, who had no validation part",
            "the backbone was pretrained on 14 tasks",
        ),
    ),
)
"""As the articles print them, as shares; the first of a method stands beside figures of other data."""


def beside(
    method: str,
    data: str,
    protocol: str,
    classes: Sequence[str] | int,
    *,
    division: Division | None = None,
    figure: str = "accuracy",
) -> Published | None:
    """The published value to print beside a figure of ours, and whether the two are of the same protocol.

    Args:
        method: Of ours; `-frozen` and `-end-to-end` variants stand beside the same article.
        data: Kind of data set, or any text with `simulated` in it.
        protocol: `paper`, `live-segment`, `live-stream`.
        classes: Names or number.
        division: How people were divided, where it is known.
        figure: Which figure, as in `Row.figures`.

    Returns:
        The nearest value: of the same data, then classes, then division; of other data the first that is listed. None
        where the method has none.
    """
    count = classes if isinstance(classes, int) else len(classes)
    name = method.removesuffix("-frozen").removesuffix("-end-to-end")
    own = [item for item in PUBLISHED if item.method == name and item.figure == figure]
    if not own:
        return None
    nearest = max(
        own, key=lambda i: (i.target, i.data == data and (1 + 2 * (i.classes == count) + (i.division == division)))
    )
    reasons = list(_reasons(nearest, name == method, data, protocol, count, division))
    return replace(
        nearest,
        same_protocol=not reasons,
        why="; ".join(reasons) if reasons else "data, windows, classes, division and choice are the same",
    )


def _reasons(
    item: Published, same_method: bool, data: str, protocol: str, classes: int, division: Division | None
) -> tuple[str, ...]:
    """Everything that differs, what matters most first."""
    reasons = []
    if not item.target:
        reasons.append("no target: it cannot be what its text says")
    if any(kind in data.lower() for kind in SIMULATED):
        reasons.append("simulated")
    elif data != item.data:
        reasons.append(f"other data ({item.data})")
    if protocol != item.protocol:
        reasons.append(f"ours is {protocol}, theirs cuts and scales trials afterwards")
    if classes != item.classes:
        reasons.append(f"{item.classes} classes there, {classes} here")
    if division is not None and division != item.division:
        reasons.append(f"people divided by {item.division}")
    if not same_method:
        reasons.append("another way to train")
    return (*reasons, *item.differs)
