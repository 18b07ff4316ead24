"""What figures mean, for a reader who is no statistician, and what may be said of a difference."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from models.data.biovid_people import NON_REACTIVE
from models.evaluation.report.findings import Findings, is_baseline
from models.evaluation.summary import Comparison, Figure, Row

SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "balanced_accuracy": "balanced accuracy",
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "mcc": "MCC",
        "auroc": "AUROC",
        "auprc": "AUPRC",
        "sensitivity_at_90": "sensitivity at 90 % specificity",
        "auroc_severe": "AUROC, strongest pain",
        "auprc_severe": "AUPRC, strongest pain",
        "mae": "MAE",
        "qwk": "QWK",
        "ece": "ECE",
        "brier": "Brier score",
        "slope": "slope",
        "intercept": "intercept",
    }
)

MEANING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "balanced_accuracy": "Share of windows told right, taken of each class and averaged, so that a frequent class "
        "counts no more than a rare one. Guessing gives 1 / number of classes.",
        "accuracy": "Share of all windows told right. A method that always tells the most frequent class looks good.",
        "macro_f1": "Of each class: how many told windows were right, and how many true ones were found, in one "
        "number; averaged over classes. 1 is best.",
        "mcc": "Correlation of what was told with what was true: 0 is guessing, 1 is perfect, below 0 is worse than "
        "guessing.",
        "auroc": "How often a painful window gets a higher probability of pain than one without: 0.5 is guessing, 1 is "
        "always.",
        "auprc": "How pure the windows with the highest probabilities are. Guessing gives the share of painful "
        "windows, so it compares only within the same data.",
        "sensitivity_at_90": "Share of painful windows that are found when one in ten windows without pain may be "
        "called painful by mistake.",
        "auroc_severe": "AUROC of the strongest pain against no pain, without what lies between.",
        "auprc_severe": "AUPRC of the strongest pain against no pain, without what lies between.",
        "mae": "By how many classes the told one is off on average. 0 is best.",
        "qwk": "Agreement in which errors by two classes count four times those by one: 0 is guessing, 1 is perfect.",
        "ece": "How far told probabilities are from the truth on average, in 15 groups of equal size: where 70 % was "
        "told, 70 % should be pain. 0 is best.",
        "brier": "Mean squared error of the told probability of pain: 0 is best; always telling one half gives 0.25.",
        "slope": "1 is right; below 1 the probabilities are too sure of themselves, above 1 too timid.",
        "intercept": "0 is right; above 0 pain is told too rarely, below 0 too often.",
    }
)

PROTOCOLS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "paper": "trials are cut and scaled afterwards, knowing the whole recording, as articles do; no bedside can, "
        "so such a model never becomes a bundle",
        "live-segment": "cut trials, but filtered and scaled only by what is known by the end of each window",
        "live-stream": "windows of continuous recordings as they come at a bedside, filtered and scaled by what is "
        "known by then",
    }
)

SUBSETS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "all": ("All subjects", "every held-out window"),
        "responders": ("Responders", "only subjects whose body is known to answer to pain"),
        "phasic": ("Phasic pain", "short stimuli against windows without pain"),
        "tonic": ("Tonic pain", "long stimuli against windows without pain"),
    }
)

FIGURES: Final = ("balanced_accuracy", "accuracy", "macro_f1", "mcc", "auroc", "auprc", "sensitivity_at_90")
ORDER: Final = ("mae", "qwk", "auroc_severe", "auprc_severe")
PROBABILITIES: Final = ("ece", "brier", "slope", "intercept")

INTERVAL: Final = (
    "The small numbers below a figure are its 95 % interval: if other people of the same kind had been tested, the "
    "figure would mostly lie in there. It is computed by drawing the tested subjects anew a thousand times, so few "
    "subjects give wide intervals. Two methods whose intervals overlap may still differ: see the comparisons."
)
SEEDS: Final = (
    "A seed decides all draws of chance in a training. Figures of several seeds are their mean; the spread after ± is "
    "what training again changes by luck alone."
)
CONSTRUCTED: Final = (
    "Set by construction: how strongly simulated bodies answer to pain was tuned until this very method reached a "
    "published figure. The row repeats that choice and is evidence of nothing."
)

_ALLOWED_LOSS: Final = -0.01
_SIGNIFICANT: Final = 0.05


def said(figure: Figure | None, *, digits: int = 3, sign: bool = False) -> str:
    """A figure as text, without its interval."""
    if figure is None:
        return ""
    return f"{figure.value:+.{digits}f}" if sign else f"{figure.value:.{digits}f}"


def interval(figure: Figure | None, *, digits: int = 3, sign: bool = False, factor: float = 1.0) -> str:
    """Its interval as text; empty where there is none."""
    if figure is None or figure.low is None or figure.high is None:
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{factor * figure.low:{form}} to {factor * figure.high:{form}}"


def verdict(item: Comparison, findings: Findings) -> str:
    """What can and what cannot be said of a comparison."""
    difference = item.difference
    low, high = difference.low, difference.high
    rows = {row.method: row for row in findings.rows(item.subset)}
    subjects = min((rows[name].subjects for name in (item.method, item.other) if name in rows), default=0)
    points = f"{100 * abs(difference.value):.1f} points"
    told = low is not None and high is not None and item.p_holm < _SIGNIFICANT and (low > 0 or high < 0)
    if low is None or high is None:
        text = "Too few subjects for an interval: nothing can be said."
    elif told:
        which = "better" if difference.value > 0 else "worse"
        text = (
            f"{item.method} was {which} than {item.other} by {points} on these subjects, and chance alone seldom gives "
            "such a difference."
        )
    elif low > 0 or high < 0:
        text = (
            f"{item.method} looks {'better' if low > 0 else 'worse'} than {item.other} by {points}, but among so many "
            "comparisons at once chance gives as much too often: not shown."
        )
    else:
        text = (
            f"No difference can be told: anything from {_points(low)} to {_points(high)} fits what was seen. That is "
            "no proof that the two are equal."
        )
    more = []
    if low is not None and item.method.startswith("crossmod") and not is_baseline(item.other):
        enough = low >= _ALLOWED_LOSS
        more.append(
            f"It is {'at most' if enough else 'not shown to be at most'} 1 point worse than its best part "
            f"(lower bound {100 * low:+.1f} points)."
        )
    if 0 < subjects < 6:
        more.append(
            f"With {subjects} subjects no test can find anything: p cannot fall below {0.5 ** (subjects - 1):.2g}."
        )
    if any(findings.set_by_construction(name) for name in (item.method, item.other)):
        more.append("One of the two is set by construction, so the difference is too.")
    return " ".join([text, *more])


def _points(value: float) -> str:
    return f"{100 * abs(value):.1f} points {'better' if value >= 0 else 'worse'}"


def limits(findings: Findings) -> list[str]:
    """What the figures of this run do not show."""
    lines = []
    if findings.simulated:
        lines.append(
            "The data are simulated. Signals, answers to pain, disturbances and the labels themselves come from one "
            "program with assumed parameters. No figure here says how well anything would work on a person."
        )
    else:
        lines.append(
            "Stimuli of a laboratory, applied to volunteers, are not the pain of patients; who is sedated, paralysed, "
            "very young or ill may answer quite otherwise."
        )
    if findings.summary.protocol == "paper":
        lines.append("Protocol paper scales with knowledge of the future: live figures will be lower.")
    split = str(findings.setting("split", "kind", ""))
    if split in ("official", "parts", "hold-out"):
        lines.append("One division of people was tested; another would give somewhat other figures.")
    subjects = max((row.subjects for row in findings.summary.rows), default=0)
    if subjects < 20:
        lines.append(f"{subjects} subjects are few: intervals are wide, and even they are rough for so few.")
    if findings.setting("train", "epochs", 0):
        lines.append(
            f"Training was cut to {findings.setting('train', 'epochs')} epochs a stage, to try things out: the figures "
            "are not those of the method."
        )
    if findings.setting("data", "leave_out") or findings.setting("data", "subjects"):
        lines.append("Subjects were left out by the configuration (data.leave_out or data.subjects).")
    left = set(findings.setting("data", "leave_out") or ()) & set(NON_REACTIVE)
    if left and findings.kind.startswith("biovid"):
        lines.append(
            f"{len(left)} of those left out are among the {len(NON_REACTIVE)} whom part of the literature drops "
            "because they hardly reacted: every figure is better than it would be at a bedside, where nobody can be "
            "dropped."
        )
    lines.append(
        "All subjects tested here come from the same source as those trained on. Another device, ward or population "
        "was not tested."
    )
    lines.append("Labels say which stimulus was applied, not what somebody felt.")
    return lines


def windows_of(row: Row) -> str:
    """How much a row rests on."""
    return f"{row.subjects} subjects, {row.windows} windows"
