"""A TOML file -> one settings model, strictly, with everything that is wrong in it told at once, each with its key."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from monitor.errors import ConfigError, Problem

_Model = TypeVar("_Model", bound=BaseModel)


def read_toml(path: Path, model: type[_Model], contradictions: Callable[[_Model], Sequence[Problem]]) -> _Model:
    """Read a TOML file as a settings model, strictly, as `load_settings` reads config.toml.

    Args:
        path: The file.
        model: What it holds; every key must have a default.
        contradictions: What is wrong between keys that are each right by themselves.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere; it carries every problem at once, each with its key.
    """
    where = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(where=where, problems=[Problem("(file)", "there is no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(where=where, problems=[Problem("(file)", f"cannot be read: {error}")]) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where=where, problems=[Problem("(syntax)", f"not TOML: {error}")]) from error

    problems: list[Problem] = []
    wrong: list[str] = []
    while True:
        # What is wrong is taken out and the rest looked at again, so that one bad value hides no other problem; every
        # key has a default, so this ends.
        try:
            settings = model.model_validate_json(json.dumps(data, default=str), strict=True)
            break
        except ValidationError as error:
            found = _problems(error, data, model)
            problems += found
            wrong += [problem.key for problem in found]
            for keys in sorted({_existing(item["loc"], data) for item in error.errors()}, key=_deepest_first):
                _take_out(data, keys)
    problems += [problem for problem in contradictions(settings) if not _concerns(problem, wrong)]
    if problems:
        raise ConfigError(where=where, problems=problems)
    return settings


def _problems(error: ValidationError, data: dict[str, Any], root: type[BaseModel]) -> list[Problem]:
    """What pydantic found, one problem a key (each arm of a union reports by itself)."""
    by_key: dict[str, list[str]] = {}
    hints: dict[str, str] = {}
    for item in error.errors():
        keys = _existing(item["loc"], data)
        dotted = _dotted(keys)
        if item["type"] == "extra_forbidden":
            model = _model_at(keys[:-1], root)
            names = list(model.model_fields) if model else []
            close = difflib.get_close_matches(str(keys[-1]), names, n=1, cutoff=0.6)
            by_key[dotted] = ["there is no such key"]
            hints[dotted] = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(names)}"
        else:
            said = item["msg"].replace("Input should be", "should be")
            by_key.setdefault(dotted, [])
            if said not in by_key[dotted]:
                by_key[dotted].append(said)
            hints[dotted] = f"it is {_value_at(data, keys)!r}"
            model = _model_at(keys[:-1], root) if item["type"] == "string_pattern_mismatch" else None
            if model is not None:
                field = model.model_fields[str(keys[-1])]
                by_key[dotted] = [f"'{_value_at(data, keys)}' is not allowed"]
                hints[dotted] = (field.description or "").rstrip(".")
    return [Problem(key, ", or ".join(said), hints[key]) for key, said in by_key.items()]


def _existing(loc: tuple[int | str, ...], data: Any) -> tuple[int | str, ...]:
    """The part of a pydantic location that lies in the file; what follows names the arm of a union."""
    keys: list[int | str] = []
    for part in loc:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if not inside:
            break
        data = data[part]
        keys.append(part)
    return tuple(keys)


def _value_at(data: Any, keys: tuple[int | str, ...]) -> Any:
    for key in keys:
        data = data[key]
    return data


def _take_out(data: Any, keys: tuple[int | str, ...]) -> None:
    if not keys:
        data.clear()
        return
    holder = _value_at(data, keys[:-1])
    del holder[keys[-1]]


def _deepest_first(keys: tuple[int | str, ...]) -> tuple[int, list[int]]:
    """Sort key: inner before outer and later list entries before earlier ones, so that deletions keep numbers right."""
    return -len(keys), [-part for part in keys if isinstance(part, int)]


def _dotted(keys: tuple[int | str, ...]) -> str:
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text or "(file)"


def _model_at(keys: tuple[int | str, ...], root: type[BaseModel]) -> type[BaseModel] | None:
    """The settings model that describes the table at `keys`."""
    model = root
    for key in keys:
        if isinstance(key, int):
            continue
        if key not in model.model_fields:
            return None
        annotation: Any = model.model_fields[key].annotation
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
        else:
            return None
    return model


def _concerns(problem: Problem, wrong: list[str]) -> bool:
    """Whether a contradiction may merely come from a default that stands in for a wrong value that it speaks of."""
    table = problem.key.rpartition(".")[0]
    for key in wrong:
        holder, _, name = key.rpartition(".")
        if holder == problem.key or (holder == table and name in str(problem)):
            return True
    return False
