"""From logits to probabilities and to the index of one window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.scoring.scorer import has_index, pain_evidence, probabilities
from tests.helpers.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    folder: Path = tmp_path_factory.mktemp("bundle")
    return load_bundle(write_tiny_bundle(folder)).spec


def _with(spec: BundleSpec, **changes: object) -> BundleSpec:
    return spec.model_copy(update=changes)


@settings(max_examples=50, deadline=None)
@given(logits=st.lists(st.floats(-80, 80, width=32), min_size=3, max_size=3), temperature=st.floats(0.3, 5.0))
def test_probabilities_are_a_softmax_at_the_bundles_temperature(
    spec: BundleSpec, logits: list[float], temperature: float
) -> None:
    warm = _with(spec, calibration=spec.calibration.model_copy(update={"temperature": temperature}))
    found = probabilities(warm, np.array(logits, dtype=np.float32))
    exact = np.exp(np.array(logits, dtype=np.longdouble) / temperature)
    assert np.allclose(found, (exact / exact.sum()).astype(float), atol=1e-12)
    index = pain_evidence(spec, found)
    assert index is not None
    assert index == pytest.approx(50 * found[1] + 100 * found[2])


@pytest.mark.parametrize("logits", [[0.0, np.nan, 0.0], [np.inf, 0.0, 0.0], [0.0, 0.0]])
def test_what_is_no_score_is_refused(spec: BundleSpec, logits: list[float]) -> None:
    with pytest.raises(ValueError, match="tiny-eda-ecg gave logits"):
        probabilities(spec, np.array(logits, dtype=np.float32))


def test_only_a_pain_bundle_that_may_alarm_has_an_index(spec: BundleSpec) -> None:
    assert has_index(spec)
    untrained = _with(spec, weights=spec.weights.model_copy(update={"alarm_eligible": False}))
    assert pain_evidence(untrained, (0.1, 0.2, 0.7)) is None
    assert pain_evidence(_with(spec, target="emotion"), (0.1, 0.2, 0.7)) is None
