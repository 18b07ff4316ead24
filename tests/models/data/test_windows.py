"""Windows as arrays: chosen, and joined."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.base import WindowSet, join


def windows() -> WindowSet:
    count = 4
    return WindowSet(
        inputs={"eda": np.arange(count, dtype=np.float32).reshape(count, 1, 1)},
        labels=np.array([0, 1, -1, 2]),
        subjects=np.array(["a", "b", "a", "c"]),
        t_end=np.arange(4.0),
        level=np.zeros(4),
        since_onset_s=np.zeros(4),
        confounded=np.zeros(4, dtype=np.bool_),
        calibrated=np.ones(4, dtype=np.bool_),
    )


def test_windows_are_found_by_subject() -> None:
    assert windows().of(["a", "c"]).inputs["eda"].ravel().tolist() == [0.0, 2.0, 3.0]
    assert windows().labelled().subjects.tolist() == ["a", "b", "c"]


def test_joined_windows_are_those_of_the_parts() -> None:
    both = join([windows().take(np.array([3])), windows().take(np.arange(2))])
    assert both.t_end.tolist() == [3.0, 0.0, 1.0]
    assert both.inputs["eda"].ravel().tolist() == [3.0, 0.0, 1.0]
    assert both.subjects.tolist() == ["c", "a", "b"]
    with pytest.raises(ValueError, match="nothing to join"):
        join([])
