"""Weights on disk, with what is needed to build the model that they belong to; never anything executable."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from models.base import PainModel
from models.registry import create_model


def save_checkpoint(model: PainModel, path: Path) -> None:
    """Write a model's architecture, constructor arguments and weights."""
    content = {"architecture": model.architecture, "arguments": model.arguments, "state_dict": model.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def load_checkpoint(path: Path) -> PainModel:
    """Build the model of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        ValueError: If the file is no checkpoint of `save_checkpoint`.
        RuntimeError: If the weights do not fit the architecture.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as weights ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.keys() != {"architecture", "arguments", "state_dict"}:
        raise ValueError(f"{path} holds no architecture, arguments and state_dict")
    model = create_model(content["architecture"], **content["arguments"])
    model.load_state_dict(content["state_dict"])
    return model.eval()
