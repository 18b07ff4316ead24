"""A TOML file -> one settings model, strictly, with everything that is wrong in it told at once, each with its key."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from monitor.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=BaseModel)


def read_text(path: Path) -> str:
    """The text of a configuration.

    Args:
        path: The file.

    Raises:
        ConfigError: If it cannot be read.
    """
    where = str(path)
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of their own
    except FileNotFoundError:
        raise ConfigError(where=where, problems=[Problem("(file)", "there is no such file")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem("(file)", f"cannot be read: line {line} is not UTF-8", "save it as UTF-8")
        raise ConfigError(where=where, problems=[problem]) from error
    except OSError as error:
        problem = Problem("(file)", f"cannot be read: {error.strerror or error}")
        raise ConfigError(where=where, problems=[problem]) from error


def read_toml(
    path: Path, model: type[_Model], contradictions: Callable[[_Model], Sequence[Problem]], *, text: str | None = None
) -> _Model:
    """Read a TOML file as a settings model, strictly, as `load_settings` reads config.toml.

    Args:
        path: The file.
        model: What it holds; every key must have a default.
        contradictions: What is wrong between keys that are each right by themselves.
        text: What stood in it, where it was read before; else it is read.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere; it carries every problem at once, each with its key.
    """
    where = str(path)
    text = read_text(path) if text is None else text
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
            wrong += _meant(error, data, model)
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
            by_key[dotted] = ["there is no such key"]
            hints[dotted] = _instead(keys, root)
        else:
            said, value = _in_words(item), _value_at(data, keys)
            by_key.setdefault(dotted, [])
            if said not in by_key[dotted]:
                by_key[dotted].append(said)
            if item["type"] == "tuple_type" and isinstance(value, dict):
                by_key[dotted] = ["there may be several of these tables"]
                hints[dotted] = f"write [[{_table_at(keys)}]], with two brackets"
            else:
                hints[dotted] = f"it is {_shortened(repr(value))}"
            model = _model_at(keys[:-1], root) if item["type"] == "string_pattern_mismatch" else None
            if model is not None:
                field = model.model_fields[str(keys[-1])]
                by_key[dotted] = [f"'{_value_at(data, keys)}' is not allowed"]
                hints[dotted] = (field.description or "").rstrip(".")
    return [Problem(key, ", or ".join(said), hints[key]) for key, said in by_key.items()]


_SECRETS: Final = ("password", "key", "secret", "token")
_SHOWN: Final = 60
_FEW: Final = 4
"""So many keys of a table are named beside a hint that leads elsewhere."""


def _in_words(item: ErrorDetails) -> str:
    """What is wrong with one value, without pydantic's names of types."""
    if item["type"] == "tuple_type":
        return "should be a list in square brackets"
    if item["type"] == "too_short":
        return f"should have at least {item['ctx']['min_length']}"
    return item["msg"].replace("Input should be", "should be")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _instead(keys: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """What to write in place of a key that does not exist."""
    model, key = _model_at(keys[:-1], root), str(keys[-1])
    names = list(model.model_fields) if model else []
    file = next((name for name in (f"{key}_file", "password_file", "key_file") if name in names), "")
    if file and key in _SECRETS:  # the nearest key might be the one that names a variable: no place for it, either
        return f"it is never written here: put it into a file of mode 600, and the file's name into {file}"
    if close := difflib.get_close_matches(key, names, n=1, cutoff=0.6):
        return f"did you mean '{close[0]}'?"
    tables = dict(_tables(root))
    if found := next((name for name in tables if name.strip("[]").endswith(f".{key}")), ""):
        return f"it is called {found}"
    if homes := [name for name, table in tables.items() if key in table.model_fields]:
        here = f"; known here: {', '.join(names)}" if 0 < len(names) <= _FEW else ""
        return f"it belongs under {' or '.join(homes)}{here}"
    return f"one of {', '.join(names)}"


def _meant(error: ValidationError, data: Any, root: type[BaseModel]) -> list[str]:
    """The keys that unknown ones seem to stand for: their defaults are not what the user wrote, either."""
    meant = []
    for item in error.errors():
        keys = _existing(item["loc"], data)
        model = _model_at(keys[:-1], root) if item["type"] == "extra_forbidden" else None
        if model is not None:
            close = difflib.get_close_matches(str(keys[-1]), list(model.model_fields), n=1, cutoff=0.6)
            meant += [_dotted((*keys[:-1], name)) for name in close]
    return meant


def _tables(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table below a settings model: its header in the file, and what describes it."""
    for key in model.model_fields:
        below = _model_at((key,), model)
        if below is not None:
            dotted = f"{name}.{key}" if name else key
            several = model.model_fields[key].annotation is not below
            yield (f"[[{dotted}]]" if several else f"[{dotted}]"), below
            yield from _tables(below, dotted)


def _table_at(keys: tuple[int | str, ...]) -> str:
    return ".".join(str(key) for key in keys if not isinstance(key, int))


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
        if key == problem.key or holder == problem.key or (holder == table and name in str(problem)):
            return True
        # Of another table: by its whole name, as in "(set mqtt.host)", or that table altogether, as in "[mqtt]".
        if (holder and key in str(problem)) or f"[{key}]" in str(problem):
            return True
    return False
