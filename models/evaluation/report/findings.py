"""What the folder of a run holds, read for its report: the files are the only source of every number of the page."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.data.settings import SIMULATED
from models.evaluation.metrics import BASELINES
from models.evaluation.published import Division
from models.evaluation.summary import Comparison, Figure, ReliabilityBin, Row, Summary
from monitor.errors import SourceError

if TYPE_CHECKING:
    from models.evaluation.report.attention import Example
    from models.training.run import Plan

_DIVISIONS: Final[Mapping[str, Division]] = {"loso": "loso", "k-fold": "k-fold", "official": "official"}
_TUNED: Final = ("fcn-eda", "fcn-ecg")
_PLACES: Final = {
    "data": ("path", "cache"),
    "output": ("folder",),
    "bundle": ("out",),
    "evaluate": ("recordings",),
}
"""Settings that say where something lies, not what is computed."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Sittings or trials that gave no window, of one kind of reason."""

    code: str
    count: int
    example: str
    """Where and what, of the first."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a report is written from."""

    summary: Summary
    run: Mapping[str, Any]
    """run.json; empty where there is none."""
    folds: tuple[Mapping[str, Any], ...]
    """folds/*.json, by name."""
    streaming: Mapping[str, Any] | None = None
    controls: Mapping[str, Any] | None = None
    recordings: Mapping[str, Any] | None = None
    left_out: tuple[LeftOut, ...] | None = None
    """None where nobody knows: the run keeps them with its windows."""
    examples: tuple[Example, ...] = ()
    damaged: tuple[str, ...] = field(default=())
    """Files that are there and could not be read."""

    @property
    def simulated(self) -> bool:
        """Whether nobody of these is a person."""
        return any(kind in self.summary.data.lower() for kind in SIMULATED)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration of the run, as plain values."""
        return self.run.get("settings") or {}

    def setting(self, table: str, key: str, default: Any = None) -> Any:
        """One value of the configuration."""
        return (self.settings.get(table) or {}).get(key, default)

    @property
    def division(self) -> Division | None:
        """How people were divided, in the words of published values."""
        return _DIVISIONS.get(str(self.setting("split", "kind", "")))

    @property
    def kind(self) -> str:
        """Of the data, as published values name it."""
        return str(self.setting("data", "kind", self.summary.data))

    @property
    def settings_hash(self) -> str:
        """Of everything in the configuration but where things lie; empty where it is not known."""
        if not self.settings:
            return ""
        kept = {
            table: {key: value for key, value in values.items() if key not in _PLACES.get(table, ())}
            for table, values in self.settings.items()
            if isinstance(values, Mapping)
        }
        return hashlib.blake2b(json.dumps(kept, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()

    @property
    def versions(self) -> dict[str, tuple[str, ...]]:
        """What the folds were trained with, by name; several where they differ."""
        found: dict[str, set[str]] = {}
        for fold in self.folds:
            for name, version in (fold.get("versions") or {}).items():
                found.setdefault(name, set()).add(str(version))
        return {name: tuple(sorted(versions)) for name, versions in found.items()}

    def set_by_construction(self, method: str) -> bool:
        """Whether a figure of a method is what the simulated cohort was tuned to give."""
        return self.simulated and method in _TUNED and self.setting("data", "population", "default") != "neurokit"

    def rows(self, subset: str) -> list[Row]:
        """Rows of a subset, deep models first and plain baselines after them."""
        own = [row for row in self.summary.rows if row.subset == subset]
        return sorted(own, key=lambda row: is_baseline(row.method))


def is_baseline(method: str) -> bool:
    """Whether a method is a plain one that deep models stand beside."""
    return method in BASELINES


def read_findings(folder: Path, plan: Plan | None = None) -> Findings:
    """Read the folder of a run.

    Args:
        folder: With summary.json.
        plan: The run, for what lies outside of its folder: windows that were left out, and those of the examples of
            attention. Without it the report says nothing of either.

    Raises:
        SourceError: If summary.json is missing or damaged.
    """
    from models.evaluation.command import read_summary

    content = read_summary(folder)
    try:
        summary = summary_of(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"is damaged: {error!r}", where=str(folder / "summary.json"), todo="Evaluate again") from None
    damaged: list[str] = []
    found = {name: _json(folder / f"{name}.json", damaged) for name in ("run", "streaming", "controls", "recordings")}
    folds = [_json(path, damaged) for path in sorted((folder / "folds").glob("*.json"))]
    left_out: tuple[LeftOut, ...] | None = None
    examples: tuple[Example, ...] = ()
    if plan is not None:
        from models.evaluation.report.attention import examples_of_run

        left_out, examples = _left_out(plan), examples_of_run(plan)
    return Findings(
        summary=summary,
        run=found["run"] or {},
        folds=tuple(fold for fold in folds if fold is not None),
        streaming=found["streaming"],
        controls=found["controls"],
        recordings=found["recordings"],
        left_out=left_out,
        examples=examples,
        damaged=tuple(damaged),
    )


def _json(path: Path, damaged: list[str]) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        damaged.append(path.name)
        return None
    if not isinstance(content, dict):
        damaged.append(path.name)
        return None
    return content


def summary_of(content: Mapping[str, Any]) -> Summary:
    """A summary from summary.json as `models.evaluation.command.evaluate_run` writes it.

    Raises:
        KeyError, TypeError, ValueError: If it is none.
    """
    return Summary(
        data=str(content["data"]),
        protocol=str(content["protocol"]),
        classes=tuple(content["classes"]),
        rows=tuple(_row(item) for item in content["rows"]),
        comparisons=tuple(
            Comparison(**{**item, "difference": figure_of(item["difference"])}) for item in content["comparisons"]
        ),
        notes=tuple(content["notes"]),
    )


def _row(item: Mapping[str, Any]) -> Row:
    given = dict(item)
    given["classes"], given["seeds"] = tuple(item["classes"]), tuple(item["seeds"])
    given["figures"] = {name: figure_of(value) for name, value in item["figures"].items() if value["value"] is not None}
    given["confusion"] = tuple(tuple(int(count) for count in line) for line in item["confusion"])
    given["reliability"] = tuple(ReliabilityBin(**one) for one in item["reliability"])
    for name in ("subject_f1", "spread_of_seeds", "miscalibration"):
        # The last is not in the files of older versions.
        given[name] = {key: float(value) for key, value in (item.get(name) or {}).items() if value is not None}
    return Row(**given)


def figure_of(item: Mapping[str, Any]) -> Figure:
    """A figure from its plain values."""
    return Figure(value=item["value"], low=item.get("low"), high=item.get("high"))


def _left_out(plan: Plan) -> tuple[LeftOut, ...]:
    """What gave no window, counted by reason; once where several forms of windows were cut."""
    from models.training.windows import open_windows

    oddities = {
        (oddity.code, oddity.where, oddity.what): oddity
        for place in plan.windows.values()
        for oddity in open_windows(place).left_out
    }
    counts = Counter(oddity.code for oddity in oddities.values())
    first = {oddity.code: oddity for oddity in reversed(list(oddities.values()))}
    return tuple(
        LeftOut(code=code, count=count, example=f"{first[code].where}: {first[code].what}")
        for code, count in counts.most_common()
    )
