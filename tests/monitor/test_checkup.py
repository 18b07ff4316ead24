"""What `pain-monitor check` finds on this machine, beyond what stands in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.checkup import check_config
from monitor.errors import ConfigError
from tests.helpers.tiny_bundle import write_tiny_bundle

CONFIG = """
[engine]
state_dir = {state}
[jsonlog]
path = {log}
[[bed]]
bundles = [{bundle}]
[[bed.stream]]
name = "EDA"
modality = "EDA"
[[bed.stream]]
name = "ECG"
modality = "ECG"
"""


def written(tmp_path: Path, state: Path, log: Path) -> Path:
    bundle = tmp_path / "tiny-eda-ecg"
    if not bundle.exists():
        write_tiny_bundle(tmp_path)
    config = tmp_path / "config.toml"
    values = {"state": state, "log": log, "bundle": bundle}
    config.write_text(CONFIG.format(**{name: json.dumps(str(value)) for name, value in values.items()}))
    return config


def test_places_where_nothing_can_ever_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError) as caught:
        check_config(written(tmp_path, file / "state", file / "events.jsonl"))
    assert [problem.key for problem in caught.value.problems] == ["engine.state_dir", "jsonlog.path"]
    assert str(caught.value).count(f"{file} is a file, and should be a folder") == 2
    with pytest.raises(ConfigError, match="name a file in it"):
        check_config(written(tmp_path, tmp_path / "new" / "state", tmp_path))


def test_folders_that_are_not_there_yet_are_made_later(tmp_path: Path) -> None:
    check_config(written(tmp_path, tmp_path / "new" / "state", tmp_path / "log" / "events.jsonl"))
    assert not (tmp_path / "new").exists(), "a check starts and makes nothing"


def test_a_folder_that_nobody_may_look_into_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists

    def forbidden(path: Path, **given: bool) -> bool:
        if "private" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path, **given)

    monkeypatch.setattr(Path, "exists", forbidden)
    check_config(written(tmp_path, tmp_path / "private" / "state", tmp_path / "private" / "x" / "events.jsonl"))
