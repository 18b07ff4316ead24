"""Temperatures undo what made probabilities too sure; limits refuse what is far off and spare what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.abstention import fit_abstention, normalised_entropies
from models.evaluation.calibration import calibrate, softmax
from models.training.recipe import Told
from monitor.bundle import AbstainSpec, CalibrationSpec
from monitor.feature_space import FEATURES_NPZ, read_feature_space
from monitor.scoring.scorer import normalised_entropy


def drawn(n: int, classes: int, *, sharper: float, seed: int = 0) -> tuple[Told, NDArray[np.int64]]:
    """Logits whose labels are drawn from their own softmax, then sharpened; the true temperature is `sharper`."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, classes))
    p = softmax(logits)
    labels = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return Told(logits=logits * sharper, features=np.zeros((n, 0))), labels.astype(np.int64)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("sharper", [0.5, 3.0])
def test_the_temperature_undoes_what_sharpened(classes: int, sharper: float) -> None:
    told, labels = drawn(6000, classes, sharper=sharper)
    calibration = calibrate(told, labels, classes=classes)
    assert calibration.temperature == pytest.approx(sharper, rel=0.12)
    assert calibration.prior == pytest.approx((1 / classes,) * classes)
    assert calibration.ece < 0.03
    assert calibration.slope == pytest.approx(1.0, abs=0.1)
    assert calibration.intercept == pytest.approx(0.0, abs=0.1)
    assert sum(part.count for part in calibration.bins) == calibration.windows == 6000
    p = calibration.probabilities(told.logits)
    assert p.shape == (6000, classes)
    assert p.sum(axis=1) == pytest.approx(1.0)


def test_what_is_said_fits_into_a_bundle() -> None:
    told, labels = drawn(400, 3, sharper=2.0)
    calibration = calibrate(told, labels, classes=3)
    spec = CalibrationSpec.model_validate(calibration.as_spec())
    assert spec.temperature == calibration.temperature
    assert len(spec.bins) == 15


def test_a_common_class_does_not_move_the_temperature_s_prior() -> None:
    """The temperature depends on each class's mean loss, not on how many windows it has."""
    told, labels = drawn(4000, 2, sharper=2.0)
    thrice = np.concatenate([np.arange(4000), *[np.flatnonzero(labels == 1)] * 2])
    again = Told(logits=told.logits[thrice], features=told.features[thrice])
    one, two = calibrate(told, labels, classes=2), calibrate(again, labels[thrice], classes=2)
    assert two.temperature == pytest.approx(one.temperature, rel=1e-3)
    assert two.brier == pytest.approx(one.brier, rel=1e-3)


def test_one_class_cannot_calibrate() -> None:
    told, labels = drawn(50, 2, sharper=1.0)
    with pytest.raises(ValueError, match="two classes"):
        calibrate(told, np.zeros_like(labels), classes=2)
    with pytest.raises(ValueError, match="3 classes"):
        calibrate(told, labels, classes=3)


# -- abstention --------------------------------------------------------------------------------------------------------


def featured(n: int, *, dimensions: int = 48, seed: int = 0, off: float = 0.0) -> tuple[Told, NDArray[np.int64]]:
    """Three classes around their own centres, in correlated features of very different sizes."""
    world = np.random.default_rng(99)
    mixing = world.normal(size=(dimensions, dimensions)) * np.geomspace(0.01, 30.0, dimensions)
    centres = 3.0 * world.normal(size=(3, dimensions))
    rng = np.random.default_rng([seed, n])
    labels = rng.integers(0, 3, n)
    features = (rng.normal(size=(n, dimensions)) + centres[labels] + off) @ mixing
    return Told(logits=rng.normal(size=(n, 3)), features=features), labels.astype(np.int64)


@pytest.mark.parametrize("quantile", [0.9, 0.995])
def test_ordinary_windows_are_refused_at_the_stated_rate(quantile: float) -> None:
    train, labels = featured(3000, seed=1)
    calibration, _ = featured(6000, seed=2)
    held_out, _ = featured(6000, seed=3)
    fitted = fit_abstention(train, labels, calibration, quantile=quantile)
    assert fitted.distance_above is not None
    for seen in (calibration, held_out):
        far = fitted.distances(seen.features) > fitted.distance_above
        torn = normalised_entropies(softmax(seen.logits)) > fitted.entropy_above
        assert far.mean() == pytest.approx(1 - quantile, abs=0.015 if quantile < 0.95 else 0.004)
        assert torn.mean() == pytest.approx(1 - quantile, abs=0.015 if quantile < 0.95 else 0.004)
        assert (fitted.refused(seen) == (far | torn)).all()


def test_windows_far_from_all_training_are_refused() -> None:
    train, labels = featured(2000, seed=1)
    calibration, _ = featured(1000, seed=2)
    fitted = fit_abstention(train, labels, calibration)
    strange, _ = featured(300, seed=4, off=12.0)
    assert fitted.refused(strange).all()
    broken = Told(logits=strange.logits, features=np.full_like(strange.features, np.nan))
    assert fitted.refused(broken).all()


def test_the_monitor_reads_the_arrays_and_finds_the_same_distances(tmp_path: Path) -> None:
    train, labels = featured(1500, seed=1)
    calibration, _ = featured(800, seed=2)
    fitted = fit_abstention(train, labels, calibration)
    fitted.write(tmp_path / FEATURES_NPZ)
    first = (tmp_path / FEATURES_NPZ).read_bytes()
    space = read_feature_space(tmp_path / FEATURES_NPZ, classes=3)
    assert space.components.shape == (32, 48)
    there = [space.distance(row.astype(np.float32)) for row in calibration.features[:50]]
    assert there == pytest.approx(fitted.distances(calibration.features[:50].astype(np.float32)), rel=1e-6)
    fit_abstention(train, labels, calibration).write(tmp_path / FEATURES_NPZ)
    assert (tmp_path / FEATURES_NPZ).read_bytes() == first
    assert AbstainSpec.model_validate(fitted.as_spec()).distance_above == fitted.distance_above


def test_entropies_are_the_monitor_s() -> None:
    p = np.vstack([softmax(np.random.default_rng(0).normal(size=(20, 3))), np.eye(3), np.full((1, 3), 1 / 3)])
    assert normalised_entropies(p) == pytest.approx([normalised_entropy(row.tolist()) for row in p], abs=1e-12)


def test_a_dead_feature_and_fewer_windows_than_features_do_no_harm() -> None:
    train, labels = featured(30, seed=1)
    train.features[:, 7] = 5.0
    calibration, _ = featured(40, seed=2)
    calibration.features[:, 7] = 5.0
    fitted = fit_abstention(train, labels, calibration)
    assert np.isfinite(fitted.distances(calibration.features)).all()
    assert len(fitted.components) <= 29


def test_a_method_without_features_is_limited_by_entropy_alone(tmp_path: Path) -> None:
    told, labels = drawn(300, 3, sharper=1.0)
    fitted = fit_abstention(told, labels, told)
    assert set(fitted.as_spec()) == {"entropy_above"}
    assert fitted.refused(told).mean() < 0.01
    with pytest.raises(ValueError, match="no feature space"):
        fitted.write(tmp_path / FEATURES_NPZ)


@pytest.mark.parametrize("seed", range(6))
def test_a_window_like_every_calibration_window_is_believed(seed: int) -> None:
    """A method that counts has few different answers: limits that were rounded down would refuse them all."""
    rng = np.random.default_rng(seed)
    train, labels = featured(200, dimensions=3, seed=seed)
    same = Told(logits=np.tile(rng.normal(size=3), (50, 1)), features=np.tile(rng.normal(size=3), (50, 1)))
    assert not fit_abstention(train, labels, same, temperature=1.7).refused(same).any()
