"""Figures are those of scikit-learn and torchmetrics, and behave as figures of people must."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from torchmetrics.classification import MulticlassAUROC, MulticlassCohenKappa, MulticlassMatthewsCorrCoef

from models.data.base import UNLABELLED
from models.evaluation.figures import Scored, all_figures
from models.evaluation.metrics import scored, subset, summarise
from models.evaluation.predictions import Predictions
from models.evaluation.resampling import holm, mean_with_interval, signed_rank, subject_draws
from models.evaluation.summary import Row, Summary

NAMES = ("none", "moderate", "severe")


def made(
    method: str = "crossmod",
    *,
    seed: int = 1,
    classes: int = 3,
    subjects: int = 12,
    windows: int = 24,
    strength: float = 1.5,
    step: float = 0.0,
) -> Predictions:
    """A cohort whose labels are balanced by subject; `step` rounds the probabilities, so that there are ties."""
    rng = np.random.default_rng([seed, len(method), subjects])
    n = subjects * windows
    labels = np.tile(np.arange(windows) % classes, subjects)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += strength
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if step:
        p = np.round(p / step) * step + 1e-3
        p /= p.sum(axis=1, keepdims=True)
    codes = np.repeat([f"s{i:02}" for i in range(subjects)], windows)
    return Predictions(
        method=method,
        seed=seed,
        protocol="live-segment",
        classes=NAMES[:classes],
        splits=np.full(n, "fold-1"),
        subjects=codes,
        sessions=codes,
        t_end=np.arange(n, dtype=np.float64),
        order=np.tile(np.arange(windows), subjects),
        groups=np.where(
            labels == 0, np.where(np.arange(n) % 4, "rest", "movement"), np.where(np.arange(n) % 2, "phasic", "tonic")
        ),
        responder=(np.repeat(np.arange(subjects), windows) % 4 > 0).astype(np.int64),
        labels=labels.astype(np.int64),
        probabilities=p,
    )


def row_of(summary: Summary, method: str = "crossmod", name: str = "all") -> Row:
    return next(row for row in summary.rows if (row.method, row.subset) == (method, name))


def values(row: Row) -> dict[str, float]:
    return {name: figure.value for name, figure in row.figures.items()}


def bins_by_hand(told: NDArray[np.float64], true: NDArray[np.float64], bins: int = 15) -> float:
    order = np.argsort(told)
    edges = [len(told) * i // bins for i in range(bins + 1)]
    return sum(abs(told[order[a:b]].mean() - true[order[a:b]].mean()) * (b - a) for a, b in pairwise(edges)) / len(told)


# -- against others ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0.0, 0.1], ids=["no ties", "ties"])
@pytest.mark.parametrize("classes", [2, 3])
def test_figures_are_those_of_scikit_learn(classes: int, step: float) -> None:
    item = made(classes=classes, step=step)
    got = values(row_of(summarise([item], data="x", draws=20)))
    y, p = item.labels, item.probabilities
    told, pain = p.argmax(axis=1), y > 0
    expected = {
        "balanced_accuracy": sk.balanced_accuracy_score(y, told),
        "accuracy": sk.accuracy_score(y, told),
        "macro_f1": sk.f1_score(y, told, average="macro"),
        "mcc": sk.matthews_corrcoef(y, told),
        "auroc": sk.roc_auc_score(pain, 1 - p[:, 0]),
        "auprc": sk.average_precision_score(pain, 1 - p[:, 0]),
        "brier": sk.brier_score_loss(pain, 1 - p[:, 0], sample_weight=scored(item)[0].balance),
    }
    false, true, _ = sk.roc_curve(pain, 1 - p[:, 0], drop_intermediate=False)
    expected["sensitivity_at_90"] = true[false <= 0.1 + 1e-9].max()
    if classes == 3:
        ends = y != 1
        level = p @ [0.0, 0.5, 1.0]
        expected |= {
            "mae": np.abs(y - told).mean(),
            "qwk": sk.cohen_kappa_score(y, told, weights="quadratic"),
            "auroc_severe": sk.roc_auc_score(y[ends] == 2, level[ends]),
            "auprc_severe": sk.average_precision_score(y[ends] == 2, level[ends]),
        }
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert set(got) - set(expected) == {"ece", "slope", "intercept"}


def test_figures_are_those_of_torchmetrics() -> None:
    item = made()
    got = values(row_of(summarise([item], data="x", draws=20)))
    p, y = torch.from_numpy(item.probabilities), torch.from_numpy(item.labels)
    assert got["mcc"] == pytest.approx(float(MulticlassMatthewsCorrCoef(3)(p, y)), abs=1e-6)
    assert got["qwk"] == pytest.approx(float(MulticlassCohenKappa(3, weights="quadratic")(p, y)), abs=1e-6)
    two = made(classes=2)
    q, z = torch.from_numpy(two.probabilities), torch.from_numpy(two.labels)
    assert values(row_of(summarise([two], data="x", draws=20)))["auroc"] == pytest.approx(
        float(MulticlassAUROC(2)(q, z)), abs=1e-6
    )


def test_recalibration_is_an_unpenalised_logistic_regression() -> None:
    item = made(classes=2, strength=0.8)
    told = item.probabilities[:, 1]
    fitted = LogisticRegression(C=1e9, tol=1e-10).fit(np.log(told / (1 - told))[:, None], item.labels)
    got = values(row_of(summarise([item], data="x", draws=20)))
    assert (got["slope"], got["intercept"]) == pytest.approx((fitted.coef_[0, 0], fitted.intercept_[0]), abs=1e-4)


def test_calibration_error_is_over_fifteen_bins_of_equal_mass() -> None:
    item = made(classes=2, windows=20)  # 240 windows, 16 a bin
    row = row_of(summarise([item], data="x", draws=20))
    assert row.figures["ece"].value == pytest.approx(bins_by_hand(item.probabilities[:, 1], item.labels), abs=1e-9)
    assert [part.count for part in row.reliability] == [16] * 15
    drawn = sum(abs(part.told - part.true) * part.count for part in row.reliability) / 240
    assert drawn == pytest.approx(row.figures["ece"].value, abs=1e-9)


def test_calibration_figures_are_on_the_balanced_prior() -> None:
    """Windows of a class that come twice as often change nothing of what is told on a balanced prior."""
    item = made(classes=2)
    twice = np.sort(np.concatenate([np.arange(len(item)), np.flatnonzero(item.labels == 1)]))
    one, two = (values(row_of(summarise([i], data="x", draws=20))) for i in (item, item.take(twice)))
    assert two["brier"] == pytest.approx(one["brier"])
    assert two["slope"] == pytest.approx(one["slope"])
    assert two["ece"] == pytest.approx(one["ece"], abs=0.02)
    assert two["auprc"] > one["auprc"]


# -- draws of subjects -------------------------------------------------------------------------------------------------


def test_a_draw_is_the_figure_of_the_drawn_windows() -> None:
    item = made(subjects=6)
    numbers, codes = scored(item)
    weights = subject_draws(6, seed=3, draws=5)
    drawn = all_figures(numbers, weights)
    for number, counts in enumerate(weights.astype(int)):
        rows = np.concatenate(
            [np.flatnonzero(item.subjects == code) for code, c in zip(codes, counts, strict=True) for _ in range(c)]
        )
        again = Scored(
            labels=item.labels[rows],
            probabilities=item.probabilities[rows],
            subject=np.zeros(len(rows), dtype=np.int64),
            subjects=1,
        )
        alone = all_figures(again, np.ones((1, 1)))
        for name in alone:
            # One Newton step stands for the whole solution of slope and intercept.
            wide = 0.1 if name in ("slope", "intercept") else 1e-5
            assert drawn[name][number] == pytest.approx(alone[name][0], abs=wide), name


def test_the_order_of_subjects_changes_nothing() -> None:
    item = made(step=0.05)
    shuffled = item.take(np.random.default_rng(0).permutation(len(item)))
    one, two = (row_of(summarise([i], data="x", draws=50)) for i in (item, shuffled))
    assert values(one) == pytest.approx(values(two), abs=1e-12)
    assert one.confusion == two.confusion
    assert one.subject_f1 == pytest.approx(two.subject_f1)
    for name in one.figures:
        assert one.figures[name].low == pytest.approx(two.figures[name].low, abs=1e-5)


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_intervals_contain_their_values_and_narrow_with_people(strength: float) -> None:
    few, many = (row_of(summarise([made(subjects=n, strength=strength)], data="x", draws=200)).figures for n in (8, 60))
    for name, figure in many.items():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high, name
    assert many["balanced_accuracy"].high - many["balanced_accuracy"].low < (
        few["balanced_accuracy"].high - few["balanced_accuracy"].low
    )


def test_one_subject_gives_figures_without_an_interval() -> None:
    row = row_of(summarise([made(subjects=1)], data="x", draws=20))
    assert all(figure.low is None and figure.high is None for figure in row.figures.values())


def test_the_same_seed_gives_the_same_intervals() -> None:
    item = made()
    one, two, other = (summarise([item], data="x", seed=s, draws=50) for s in (4, 4, 5))
    assert one == two
    assert one != other


# -- known predictors --------------------------------------------------------------------------------------------------


def test_a_perfect_predictor() -> None:
    item = made()
    perfect = replace(item, probabilities=np.eye(3)[item.labels])
    got = values(row_of(summarise([perfect], data="x", draws=20)))
    for name in ("balanced_accuracy", "accuracy", "macro_f1", "mcc", "auroc", "auprc", "sensitivity_at_90", "qwk"):
        assert got[name] == pytest.approx(1.0), name
    assert (got["mae"], got["ece"], got["brier"]) == pytest.approx((0.0, 0.0, 0.0))
    assert "slope" not in got  # no finite one


def test_a_constant_predictor_is_at_chance_and_calibrated() -> None:
    item = made(classes=2)
    constant = replace(item, probabilities=np.full((len(item), 2), 0.5))
    got = values(row_of(summarise([constant], data="x", draws=20)))
    assert (got["balanced_accuracy"], got["mcc"], got["auroc"], got["auprc"]) == pytest.approx((0.5, 0.0, 0.5, 0.5))
    assert got["ece"] == pytest.approx(0.0, abs=1e-12)
    assert got["sensitivity_at_90"] == 0.0


def test_chance_lies_in_its_interval() -> None:
    figures = row_of(summarise([made(strength=0.0, subjects=40)], data="x", draws=200)).figures
    assert figures["auroc"].low < 0.5 < figures["auroc"].high
    assert figures["balanced_accuracy"].low < 1 / 3 < figures["balanced_accuracy"].high


# -- subsets, seeds, splits --------------------------------------------------------------------------------------------


def test_subsets_take_their_windows_and_all_without_pain() -> None:
    item = made()
    summary = summarise([item], data="x", draws=20)
    assert [row.subset for row in summary.rows] == ["all", "responders", "phasic", "tonic"]
    assert row_of(summary, name="phasic").windows == np.count_nonzero((item.groups == "phasic") | (item.labels == 0))
    assert row_of(summary, name="responders").subjects == 9
    unknown = replace(item, responder=np.full(len(item), -1), groups=np.full(len(item), ""))
    assert [row.subset for row in summarise([unknown], data="x", draws=20).rows] == ["all"]
    assert subset(unknown, "tonic") is None


def test_windows_without_a_label_do_not_count() -> None:
    item = made()
    some = replace(item, labels=np.where(np.arange(len(item)) % 5 == 0, UNLABELLED, item.labels))
    assert row_of(summarise([some], data="x", draws=20)).windows == np.count_nonzero(some.labels >= 0)
    with pytest.raises(ValueError, match="no labelled"):
        summarise([replace(item, labels=np.full(len(item), UNLABELLED))], data="x")


def test_splits_are_pooled_and_seeds_averaged() -> None:
    one, two = made(seed=1), made(seed=2)
    half = np.isin(one.subjects, np.unique(one.subjects)[:6])
    row = row_of(summarise([one.take(half), one.take(~half), two], data="x", draws=20))
    alone = [values(row_of(summarise([item], data="x", draws=20))) for item in (one, two)]
    assert row.seeds == (1, 2)
    assert row.subjects == 12
    assert np.sum(row.confusion) == len(one) + len(two)
    for name, value in values(row).items():
        assert value == pytest.approx(np.mean([own[name] for own in alone])), name
        assert row.spread_of_seeds[name] == pytest.approx(abs(alone[0][name] - alone[1][name]) / math.sqrt(2)), name


def test_different_classes_are_not_put_into_one_table() -> None:
    with pytest.raises(ValueError, match="one table"):
        summarise([made(), made("fcn-eda", classes=2)], data="x")
    other = replace(made("fcn-eda"), protocol="paper")
    assert {row.method for row in summarise([made(), other], data="x", protocol="paper", draws=20).rows} == {"fcn-eda"}


# -- comparisons -------------------------------------------------------------------------------------------------------


def test_comparisons_are_with_the_best_baseline_and_the_best_part() -> None:
    summary = summarise(
        [
            made("crossmod", strength=3.0),
            made("fcn-eda", strength=1.0),
            made("alstm-ecg", strength=1.5),
            made("heart-rate", strength=0.2),
            made("random-forest", strength=1.2),
        ],
        data="x",
        draws=200,
    )
    pairs = {(item.method, item.other): item for item in summary.comparisons}
    assert set(pairs) == {
        ("crossmod", "random-forest"),
        ("fcn-eda", "random-forest"),
        ("alstm-ecg", "random-forest"),
        ("crossmod", "alstm-ecg"),
    }
    ahead = pairs["crossmod", "random-forest"]
    assert 0.0 < ahead.difference.low < ahead.difference.value
    assert ahead.p < 0.01
    assert all(item.p_holm >= item.p for item in summary.comparisons)


def test_equal_methods_do_not_differ() -> None:
    item = made()
    same = summarise([item, replace(item, method="fcn-eda")], data="x", draws=50).comparisons[0]
    assert (same.difference.value, same.difference.low, same.difference.high) == (0.0, 0.0, 0.0)
    assert (same.p, same.p_holm) == (1.0, 1.0)


def test_holm_is_monotone_and_never_helps() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.9]
    corrected = holm(p)
    assert corrected == pytest.approx((0.04, 0.09, 0.09, 0.025, 0.9))
    order = np.argsort(p)
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
    assert holm([]) == ()


def test_a_paired_difference_that_is_always_there_is_found() -> None:
    rng = np.random.default_rng(0)
    ahead = 0.05 + 0.02 * rng.normal(size=30)
    assert mean_with_interval(ahead, seed=1).low > 0.0
    assert signed_rank(ahead) < 1e-4
    assert signed_rank(np.zeros(30)) == 1.0
    assert signed_rank(ahead) == pytest.approx(signed_rank(-ahead))
