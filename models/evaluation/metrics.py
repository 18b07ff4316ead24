"""From predictions to figures: every method on every subset, with intervals over subjects, and who is better.

Figures are verified against scikit-learn, torchmetrics and SciPy in the tests; they are written out in
`models.evaluation.figures`, since a thousand draws of subjects have to be computed at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.base import UNLABELLED
from models.evaluation.figures import Scored, all_figures, confusions, of_confusions, reliability
from models.evaluation.miscalibration import ECE_AIM, miscalibration
from models.evaluation.predictions import Predictions, pooled
from models.evaluation.resampling import DRAWS, holm, mean_with_interval, signed_rank, subject_draws, with_interval
from models.evaluation.summary import Comparison, Figure, Row, Summary

BASELINES: Final = ("heart-rate", "scr-rate", "spi-style", "logistic-regression", "random-forest")
"""Methods that every deep one stands beside; `models.evaluation.baselines` trains them."""

PARTS_OF_CROSSMOD: Final = ("fcn-", "alstm-", "fat-")
"""How the names of the stages of one signal begin."""

COMPARED: Final = "balanced_accuracy"

_MISLEADING_WHEN_DRAWN: Final = frozenset({"ece"})

SUBSETS: Final = ("all", "responders", "phasic", "tonic")

NOTES: Final = (
    "Intervals (95 %) are of 1000 draws of subjects; figures of several seeds are their means.",
    "ECE, Brier score, slope and intercept are of the probability of any pain, every class counting the same, since "
    "probabilities are told on a balanced prior. AUPRC is at the share of painful windows in the data.",
)


def subset(predictions: Predictions, name: str) -> Predictions | None:
    """Windows of one subset; None where the data do not know it.

    Args:
        predictions: Of one method and seed; unlabelled windows are dropped.
        name: `all`; `responders` (subjects known to answer to pain); `phasic`, `tonic` (windows of that group and all
            windows without pain, confounded ones among them, or nothing could be told from anything).
    """
    known = predictions.labels != UNLABELLED
    if name == "responders":
        mask = known & (predictions.responder == 1)
        return predictions.take(mask) if mask.any() else None
    if name in ("phasic", "tonic"):
        painful = known & (predictions.groups == name)
        return predictions.take(painful | (known & (predictions.labels == 0))) if painful.any() else None
    return predictions.take(known) if known.any() else None


def scored(predictions: Predictions) -> tuple[Scored, tuple[str, ...]]:
    """Numbers in place of codes, and the codes in order."""
    codes, numbers = np.unique(predictions.subjects, return_inverse=True)
    return (
        Scored(
            labels=predictions.labels,
            probabilities=predictions.probabilities,
            subject=numbers.astype(np.int64),
            subjects=len(codes),
        ),
        tuple(codes.tolist()),
    )


def by_subject(predictions: Predictions, figure: str = COMPARED) -> dict[str, float]:
    """One figure of each subject alone (`balanced_accuracy`, `accuracy`, `macro_f1`, `mcc`, `mae`, `qwk`)."""
    numbers, codes = scored(predictions)
    values = of_confusions(confusions(numbers), ordered=numbers.classes > 2)[figure]
    return dict(zip(codes, values.tolist(), strict=True))


def _mean_by_subject(seeds: Sequence[Predictions], figure: str) -> dict[str, float]:
    tables = [by_subject(item, figure) for item in seeds]
    codes = sorted(set.intersection(*(set(table) for table in tables)))
    return {code: float(np.mean([table[code] for table in tables])) for code in codes}


def _row(method: str, name: str, seeds: Sequence[Predictions], *, seed: int, draws: int) -> Row:
    values: list[dict[str, float]] = []
    drawn: list[dict[str, NDArray[np.float64]]] = []
    confusion = np.zeros((len(seeds[0].classes),) * 2)
    for item in seeds:
        numbers, _ = scored(item)
        ones = np.ones((1, numbers.subjects))
        values.append({key: float(of_all[0]) for key, of_all in all_figures(numbers, ones).items()})
        if numbers.subjects > 1:
            drawn.append(all_figures(numbers, subject_draws(numbers.subjects, seed=seed, draws=draws)))
        confusion += confusions(numbers).sum(axis=0)
    figures: dict[str, Figure] = {}
    spread: dict[str, float] = {}
    for key in values[0]:
        each = [own[key] for own in values]
        if not np.isfinite(each).all():
            continue  # one class only, or classes told apart without error: there is no such figure
        of_draws = np.mean([own[key] for own in drawn], axis=0) if drawn else np.zeros(0)
        figures[key] = with_interval(float(np.mean(each)), of_draws, centred=key in _MISLEADING_WHEN_DRAWN)
        if len(each) > 1:
            spread[key] = float(np.std(each, ddof=1))
    each_scored = [scored(item)[0] for item in seeds]
    together = Scored(
        labels=np.concatenate([one.labels for one in each_scored]),
        probabilities=np.concatenate([one.probabilities for one in each_scored]),
        subject=np.concatenate([one.subject for one in each_scored]),
        subjects=each_scored[0].subjects,
    )
    parts: list[dict[str, float]] = []
    if name == "all" and "ece" in figures and figures["ece"].value > ECE_AIM:
        parts = [miscalibration(one, seed=seed) for one in each_scored]
    subject_f1 = _mean_by_subject(seeds, "macro_f1")
    return Row(
        method=method,
        subset=name,
        classes=seeds[0].classes,
        seeds=tuple(item.seed for item in seeds),
        subjects=len(subject_f1),
        windows=max(len(item) for item in seeds),
        figures=figures,
        confusion=tuple(tuple(int(count) for count in line) for line in confusion),
        subject_f1=subject_f1,
        reliability=reliability(together),
        spread_of_seeds=spread,
        miscalibration={
            key: float(np.mean([own[key] for own in parts])) for key in parts[0] if all(key in own for own in parts)
        }
        if parts
        else {},
    )


def _versus(
    method: Sequence[Predictions], other: Sequence[Predictions], *, seed: int, draws: int
) -> tuple[Figure, float] | None:
    one, two = _mean_by_subject(method, COMPARED), _mean_by_subject(other, COMPARED)
    differences = np.array([one[code] - two[code] for code in sorted(set(one) & set(two))])
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return None
    return mean_with_interval(differences, seed=seed, draws=draws), signed_rank(differences)


def compare(
    by_method: Mapping[str, Sequence[Predictions]],
    pairs: Sequence[tuple[str, str]],
    name: str,
    *,
    seed: int,
    draws: int,
) -> tuple[Comparison, ...]:
    """Pairs of methods on the subjects that both were tested on; Holm's correction is over all of them.

    Args:
        by_method: Labelled predictions of one subset, an entry a seed.
        pairs: (method, other).
        name: Of the subset.
        seed: Of the draws.
        draws: How many.

    Returns:
        Mean over subjects of the difference in balanced accuracy of each subject, positive where `method` is better.
    """
    found = [
        (method, other, result)
        for method, other in pairs
        if (result := _versus(by_method[method], by_method[other], seed=seed, draws=draws)) is not None
    ]
    corrected = holm([result[1] for _, _, result in found])
    return tuple(
        Comparison(method=method, other=other, subset=name, figure=COMPARED, difference=difference, p=p, p_holm=p_holm)
        for (method, other, (difference, p)), p_holm in zip(found, corrected, strict=True)
    )


def _pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Every method against the best baseline, CrossMod against its best part."""
    value = {row.method: row.figures[COMPARED].value for row in rows if COMPARED in row.figures}

    def best(names: Sequence[str]) -> str | None:
        return max(sorted(names), key=lambda method: value[method]) if names else None

    pairs = []
    if baseline := best([method for method in value if method in BASELINES]):
        pairs += [(method, baseline) for method in value if method not in BASELINES]
    if part := best([method for method in value if method.startswith(PARTS_OF_CROSSMOD)]):
        pairs += [(method, part) for method in value if method == "crossmod" or method.startswith("crossmod-")]
    return pairs


def summarise(
    predictions: Sequence[Predictions],
    *,
    data: str,
    protocol: str | None = None,
    seed: int = 20,
    draws: int = DRAWS,
) -> Summary:
    """Every method on every subset that the data know.

    Args:
        predictions: Of held-out windows; several splits of one method and seed are pooled, seeds are averaged.
        data: `simulated patients`, or the kind of data set.
        protocol: Take those of one protocol only; None where all are of the same.
        seed: Of the bootstrap.
        draws: Of subjects.

    Returns:
        Rows by method in the order in which they come, and comparisons on all windows.

    Raises:
        ValueError: If there is nothing labelled, or protocols or classes differ.
    """
    chosen = [item for item in predictions if protocol is None or item.protocol == protocol]
    if not chosen or not any((item.labels != UNLABELLED).any() for item in chosen):
        raise ValueError("there is no labelled prediction to summarise")
    first = chosen[0]
    if any((item.protocol, item.classes) != (first.protocol, first.classes) for item in chosen):
        raise ValueError("predictions of different protocols or classes do not go into one table")
    runs: dict[str, dict[int, list[Predictions]]] = {}
    for item in chosen:
        runs.setdefault(item.method, {}).setdefault(item.seed, []).append(item)
    whole = {method: [pooled(parts) for parts in seeds.values()] for method, seeds in runs.items()}
    rows: list[Row] = []
    on_all: dict[str, list[Predictions]] = {}
    for method, seeds in whole.items():
        for name in SUBSETS:
            own = [part for item in seeds if (part := subset(item, name)) is not None]
            if own:
                rows.append(_row(method, name, own, seed=seed, draws=draws))
                if name == "all":
                    on_all[method] = own
    pairs = _pairs([row for row in rows if row.subset == "all"])
    return Summary(
        data=data,
        protocol=first.protocol,
        classes=first.classes,
        rows=tuple(rows),
        comparisons=compare(on_all, pairs, "all", seed=seed, draws=draws),
        notes=NOTES,
    )
