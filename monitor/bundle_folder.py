"""A model bundle on disk: the folder {model.onnx, explain.onnx, model.json}, read and checked. Never runs a model.

`load_bundle` checks every hash first: they find damage and unintended edits, not forgery. What model.json may say is
`monitor.bundle`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from monitor.bundle import BundleSpec
from monitor.errors import BundleError, Problem
from monitor.feature_space import FEATURES_NPZ, read_feature_space

MODEL_JSON: Final = "model.json"
MODEL_ONNX: Final = "model.onnx"
EXPLAIN_ONNX: Final = "explain.onnx"
WEIGHTS_BIN: Final = "weights.bin"
"""Weights that both graphs read; a graph may hold all of its own instead."""

SHIPPED_DIR: Final = Path(__file__).parent / "bundles"
"""Where the bundles that come with the monitor live."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose model.json is valid and whose files are what it says they are."""

    path: Path
    spec: BundleSpec

    @property
    def model_onnx(self) -> Path:
        """The graph that scores."""
        return self.path / MODEL_ONNX

    @property
    def explain_onnx(self) -> Path | None:
        """The graph that gives attention maps, or None where the bundle has none."""
        return self.path / EXPLAIN_ONNX if self.spec.attention else None

    @property
    def features_npz(self) -> Path | None:
        """Where its training windows lie among the features, or None where the bundle does not say."""
        return self.path / FEATURES_NPZ if FEATURES_NPZ in self.spec.sha256 else None


def canonical_sha256(spec: Mapping[str, Any]) -> str:
    """SHA-256 of a parsed model.json without its `sha256` key.

    It is taken of what the file says, not of how it is laid out: sorted keys, no white space, UTF-8.
    """
    content = {key: value for key, value in spec.items() if key != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def shipped_bundles() -> tuple[str, ...]:
    """Names of the bundles that come with the monitor, sorted."""
    return tuple(sorted(path.parent.name for path in SHIPPED_DIR.glob(f"*/{MODEL_JSON}")))


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Read, validate and verify a bundle.

    Args:
        name_or_path: Name of a shipped bundle, or a folder. A name that is shipped wins over a folder of that name.

    Raises:
        BundleError: If the folder or a file is missing, model.json is invalid (every problem is named with its
            key), or a file is not the one that model.json states.
    """
    shipped = shipped_bundles()
    path = SHIPPED_DIR / name_or_path if str(name_or_path) in shipped else Path(name_or_path)
    if not path.is_dir():
        names = ", ".join(shipped) or "none"
        raise BundleError(
            "there is no such model bundle", where=str(name_or_path), todo=f"Give a folder, or a shipped name ({names})"
        )
    content = _read_json(path / MODEL_JSON)
    spec = _validate(path / MODEL_JSON, content)
    _verify(path, spec, content)
    return Bundle(path, spec)


def _read_json(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except FileNotFoundError:
        raise BundleError(f"the folder has no {MODEL_JSON}", where=str(path.parent), todo=_RESTORE) from None
    except OSError as error:
        raise BundleError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except ValueError as error:
        raise BundleError(f"is not valid JSON ({error})", where=str(path), todo=_RESTORE) from error
    if not isinstance(content, dict):
        raise BundleError("must hold one JSON object", where=str(path), todo=_RESTORE)
    return content


def _validate(path: Path, content: dict[str, Any]) -> BundleSpec:
    try:
        return BundleSpec.model_validate_json(json.dumps(content))
    except ValidationError as error:
        problems = [Problem(_dotted(item["loc"]), item["msg"]) for item in error.errors()]
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    raise BundleError("\n  ".join([count, *map(str, problems)]), where=str(path), todo=f"\n{_RESTORE}")


def _dotted(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or MODEL_JSON


def _verify(path: Path, spec: BundleSpec, content: Mapping[str, Any]) -> None:
    needed = {MODEL_ONNX, spec.card, MODEL_JSON} | ({EXPLAIN_ONNX} if spec.attention else set())
    if spec.calibration.abstain is not None and spec.calibration.abstain.distance_above is not None:
        needed.add(FEATURES_NPZ)
    if unlisted := sorted(needed - spec.sha256.keys()):
        raise BundleError(f"sha256 does not list {', '.join(unlisted)}", where=str(path / MODEL_JSON), todo=_RESTORE)
    for name, stated in sorted(spec.sha256.items()):
        if Path(name).name != name:
            raise BundleError(f"sha256 names {name!r}, which is outside the folder", where=str(path / MODEL_JSON))
        try:
            found = canonical_sha256(content) if name == MODEL_JSON else _file_sha256(path / name)
        except FileNotFoundError:
            raise BundleError(f"{name} is missing", where=str(path), todo=_RESTORE) from None
        except OSError as error:
            raise BundleError(f"{name} cannot be read ({error.strerror})", where=str(path)) from error
        if found != stated:
            raise BundleError(
                f"{name} was edited or damaged (SHA-256 {found[:12]}, stated {stated[:12]})",
                where=str(path),
                todo=_RESTORE,
            )
    if FEATURES_NPZ in spec.sha256:
        read_feature_space(path / FEATURES_NPZ, classes=len(spec.classes))


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_RESTORE: Final = "Restore the bundle, or write it anew with python -m export"
