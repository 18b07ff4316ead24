"""Reads files of weights that others wrote, and never executes what is in them.

`torch.load(weights_only=True)` takes tensors and plain values and refuses everything else; safetensors holds nothing
else. What goes wrong is said in one sentence, with what to do about it.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

LAYOUTS: Final = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints keep their weights; a file may also be the weights themselves."""

_AGAIN: Final = "copy or download it again and compare its size with the source's"
_SHOWN: Final = 12


class WeightsFileError(ValueError):
    """A file cannot be read as weights."""


def read_file(path: Path) -> Any:
    """What a file of torch.save or safetensors holds: tensors and plain values, on the CPU.

    Raises:
        WeightsFileError: If it cannot be read, saying why and what to do; nothing in it was executed.
    """

    def refuse(why: str, error: Exception | None = None) -> WeightsFileError:
        wrong = WeightsFileError(f"{path} cannot be read as weights: {why}")
        wrong.__cause__ = error
        return wrong

    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise refuse(error.strerror or type(error).__name__, error) from error
    if not start:
        raise refuse(f"it is empty; {_AGAIN}")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise refuse("it is a web page, saved in place of the file; download the file itself, signed in if need be")
    if text.startswith(b"version https://git-lfs"):
        raise refuse("it is a pointer of Git LFS to the file; fetch the file itself with `git lfs pull`")

    if path.suffix == ".safetensors" or start[8:9] == b"{":
        try:
            return load_safetensors(path, device="cpu")
        except (SafetensorError, ValueError, OverflowError) as error:
            raise refuse(f"as safetensors it is damaged ({error}); {_AGAIN}", error) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what comes of them is told below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        name = found.group(1) if found else _first_global(path)
        if name is None:
            raise refuse(f"it is no file of torch.save or safetensors, or it is damaged; {_AGAIN}", error) from error
        raise refuse(
            f"it asks for {name}, which is code and not weights, and none of it was run; "
            "where you trust its source, load it there and save its state_dict alone",
            error,
        ) from error
    except Exception as error:  # a damaged file makes torch's readers raise anything, assertions included
        raise refuse(f"it is cut short or damaged ({type(error).__name__}); {_AGAIN}", error) from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by the names that it gives them, `module.` of data-parallel training taken off.

    Layouts: {"state_dict": ...}, {"model_state_dict": ...}, {"model": ...}, each beside anything else, or the weights
    themselves.

    Raises:
        WeightsFileError: If the file cannot be read, or holds weights in none of these layouts.
    """
    return state_dict_of(read_file(path), str(path))


def state_dict_of(content: Any, where: str) -> dict[str, Tensor]:
    """The weights in what a file held; see `read_state_dict`.

    Args:
        content: What the file held.
        where: The file's name, for messages.

    Raises:
        WeightsFileError: If it holds weights in none of the layouts.
    """
    if not isinstance(content, Mapping):
        raise WeightsFileError(f"{where} holds no weights by name but a {type(content).__name__}")
    wrapped = [key for key in LAYOUTS if isinstance(content.get(key), Mapping)]
    if len(wrapped) > 1:
        raise WeightsFileError(f"{where} holds weights under {' and '.join(wrapped)}; save the one that is meant alone")
    weights = content[wrapped[0]] if wrapped else content
    others = [str(key) for key, value in weights.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others or not weights:
        shown = ", ".join(others[:_SHOWN]) or "nothing"
        raise WeightsFileError(
            f"{where} holds weights neither under {', '.join(LAYOUTS)} nor by themselves; no weights are {shown}"
        )
    if all(key.startswith("module.") for key in weights):
        return {key.removeprefix("module."): value for key, value in weights.items()}
    return dict(weights)


def _first_global(path: Path) -> str | None:
    """The first thing that a bare pickle would import; read, not executed."""
    strings: list[str] = []
    try:
        with path.open("rb") as file:
            for code, argument, _ in pickletools.genops(file):
                if code.name in ("GLOBAL", "INST"):
                    return str(argument).replace(" ", ".")
                if code.name == "STACK_GLOBAL":
                    return ".".join(strings[-2:])
                if isinstance(argument, str):
                    strings.append(argument)
    except (ValueError, EOFError, IndexError, OverflowError, MemoryError):  # of a damaged one: it names nothing
        return None
    return None
