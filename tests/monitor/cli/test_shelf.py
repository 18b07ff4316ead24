from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from monitor.bundle_folder import load_bundle, shipped_bundles
from monitor.cli import app


def run(*arguments: str, columns: int = 110) -> str:
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["models", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_says_what_each_bundle_needs_and_costs() -> None:
    found = {item["name"]: item for item in map(json.loads, run("--json").splitlines())}
    assert tuple(found) == shipped_bundles()
    for name, item in found.items():
        bundle = load_bundle(name)
        assert item["milliseconds"] > 0.1
        assert item["bytes"] == sum(path.stat().st_size for path in bundle.path.iterdir())
        assert item["flops"] == bundle.spec.flops > 1e6
        assert item["parameters"] == bundle.spec.parameters
        longest = max(entry.samples / entry.rate_hz for entry in bundle.spec.inputs)
        assert item["window_seconds"] == longest
        assert item["notice"] == bundle.spec.notice


def test_nothing_is_measured_where_it_is_not_wanted() -> None:
    assert all(json.loads(line)["milliseconds"] is None for line in run("--json", "--no-measure").splitlines())
    assert re.search(r"\d ms", run("--no-measure")) is None
    assert re.search(r"\d ms", run()) is not None


@pytest.mark.parametrize("columns", [80, 110, 160])
def test_the_table_names_every_bundle_whole_and_stays_in_its_columns(columns: int) -> None:
    shown = run("--no-measure", columns=columns)
    assert all(len(line) <= columns for line in shown.splitlines())
    assert "…" not in shown
    for name in shipped_bundles():
        assert name in shown
        assert "FLOP" in shown
        assert "MB" in shown
