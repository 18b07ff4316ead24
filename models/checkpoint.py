"""Weights on disk, with what is needed to build the model that they belong to; never anything executable.

A checkpoint holds a whole model. A head file holds a model without its encoder, whose weights are their authors' and
come from a file of theirs (see `models.published`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from models.base import PainModel
from models.published_files import read_file
from models.registry import create_model

_ENCODER: Final = "backbone."
"""Beginning of the entries that a head file leaves out."""


def save_checkpoint(model: PainModel, path: Path) -> None:
    """Write a model's architecture, constructor arguments and weights."""
    _save(model, path, {"state_dict": model.state_dict()})


def load_checkpoint(path: Path) -> PainModel:
    """Build the model of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        ValueError: If the file is no checkpoint of `save_checkpoint`.
        RuntimeError: If the weights do not fit the architecture.
    """
    content = _read(path, "state_dict")
    model = _create(path, content)
    model.load_state_dict(content["state_dict"])
    return model.eval()


def save_head(model: PainModel, path: Path) -> None:
    """Write all of a model but its encoder: architecture, constructor arguments, and the weights outside `backbone`.

    Raises:
        ValueError: If the model has no encoder to leave out.
    """
    state = model.state_dict()
    head = {key: value for key, value in state.items() if not key.startswith(_ENCODER)}
    if len(head) == len(state):
        raise ValueError(f"{model.architecture} has no encoder of its own; save a checkpoint")
    _save(model, path, {"head": head})


def load_head(path: Path, backbone: Mapping[str, Tensor]) -> PainModel:
    """Build the model of a head file on an encoder's weights, in evaluation mode, on the CPU.

    Args:
        path: File of `save_head`.
        backbone: State_dict of the encoder, e.g. of `models.published.load_file(...).model`.

    Raises:
        ValueError: If the file is no head file, or either part does not fit, naming the entries.
    """
    content = _read(path, "head")
    model = _create(path, content)
    own = {key: value.shape for key, value in model.state_dict().items()}
    given = {**content["head"], **{_ENCODER + key: value for key, value in backbone.items()}}
    shapes = {key: getattr(value, "shape", None) for key, value in given.items()}
    wrong = sorted(key for key in own | shapes if own.get(key) != shapes.get(key))
    if wrong:
        part = "encoder's weights do" if all(key.startswith(_ENCODER) for key in wrong) else "head does"
        more = f" and {len(wrong) - 12} more" if len(wrong) > 12 else ""
        raise ValueError(f"{path}: the {part} not fit {content['architecture']}: {', '.join(wrong[:12])}{more}")
    model.load_state_dict(given)
    return model.eval()


def _create(path: Path, content: Mapping[str, Any]) -> PainModel:
    try:
        return create_model(content["architecture"], **content["arguments"])
    except TypeError as error:
        raise ValueError(f"{path}: {content['architecture']} takes no such arguments ({error})") from error


def _save(model: PainModel, path: Path, weights: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"architecture": model.architecture, "arguments": model.arguments, **weights}, path)


def _read(path: Path, weights: str) -> dict[str, Any]:
    """The three parts of a file, the weights under the name given.

    Raises:
        ValueError: If the file cannot be read as weights, or has other parts.
    """
    content = read_file(path)
    if not isinstance(content, dict) or content.keys() != {"architecture", "arguments", weights}:
        raise ValueError(f"{path} holds no architecture, arguments and {weights}")
    return content
