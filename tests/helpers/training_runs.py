"""A tiny data set and configuration that a whole run takes seconds for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.helpers.pain_data import ai4pain_2026_columns, write_ai4pain

SUBJECTS = ("1", "2", "3", "4", "5", "6")


def write_people(root: Path, subjects: Sequence[str] = SUBJECTS, *, part: str = "train") -> Path:
    """AI4PAIN 2026 in its exact form, EDA alone; skin conductance rises in each HAND cut."""
    rng = np.random.default_rng(3)

    def change(_: str, column: str, values: np.ndarray) -> np.ndarray:
        slow = 0.004 * rng.standard_normal(len(values)).cumsum()
        return values + slow + (np.linspace(0.0, 1.0, len(values)) if "HAND" in column else 0.0)

    for subject in subjects:
        columns = ai4pain_2026_columns(subject, 700)
        write_ai4pain(root, part, subject, columns, change=change, signals=("Eda",))
    return root


def run_config(folder: Path, root: Path, out: str, *, workers: int = 1, epochs: int = 2, **tables: str) -> Path:
    """A configuration of two folds of an FCN and a logistic regression; `tables` are further lines by table."""
    given = {
        "data": f'kind = "ai4pain-2026"\npath = "{root}"\nmodalities = ["EDA"]\ncache = "cache"',
        "task": 'protocol = "live-segment"\nclasses = {none = [0], hand = ["hand"]}\ninputs = ["EDA"]\n'
        "rate_hz = 10\nsamples = 60",
        "split": 'kind = "k-fold"\nfolds = 2',
        "train": f'recipes = ["fcn"]\nworkers = {workers}\nepochs = {epochs}',
        "evaluate": 'baselines = ["logistic-regression"]',
        "output": f'folder = "{out}"',
    }
    text = "\n".join(f"[{name}]\n{tables.get(name, lines)}\n" for name, lines in given.items())
    text += "\n".join(f"[{name}]\n{lines}\n" for name, lines in tables.items() if name not in given)
    path = folder / f"{Path(out).name}.toml"
    path.write_text(text, encoding="utf-8")
    return path
