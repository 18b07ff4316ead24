"""What `evaluate` does beyond the table, by key of [evaluate]: a step reads a run's folder and writes a file there."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from models.training.run import Plan
    from models.training.settings import RunSettings

Step: TypeAlias = "Callable[[Path, Plan], Path]"
"""Takes the run's folder and its plan; gives the file that it wrote."""

_STEPS: Final = (
    ("controls", "models.evaluation.controls", "controls_step"),
    ("streaming", "models.evaluation.run_steps", "streaming_step"),
    ("recordings", "models.evaluation.run_steps", "recordings_step"),
    ("report", "models.evaluation.report", "report_step"),
)
"""In order: the report draws what the others found."""


def steps_of(settings: RunSettings) -> list[tuple[str, Step | str]]:
    """The steps that a configuration asks for; in place of one that this version has not, why."""
    found: list[tuple[str, Step | str]] = []
    for name, module, function in _STEPS:
        if name != "report" and not getattr(settings.evaluate, name):
            continue
        if importlib.util.find_spec(module) is None:
            found.append((name, "not in this version"))
            continue
        step = getattr(importlib.import_module(module), function, None)
        if step is None:
            found.append((name, f"not in this version ({module} has no {function})"))
        else:
            found.append((name, step))
    return found
