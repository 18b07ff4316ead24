"""What runs the models tells nobody so: ONNX Runtime 1.29 and later reports to its maker unless it is told not to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="the report leaves its traces elsewhere")
def test_the_models_runtime_prepares_no_report(tmp_path: Path, repository: Path) -> None:
    """It keeps its reports, and a number for this machine, in the home folder until it can send them."""
    for program, switch in (("import monitor.scoring.session", "0"), ("import monitor.scoring.session", "")):
        # Nothing of ours: under continuous integration it is silent by itself.
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "ORT_DISABLE_TELEMETRY": switch}
        command = [sys.executable, "-B", "-c", program]
        subprocess.run(command, cwd=repository, env=environment, check=True, capture_output=True, timeout=60)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
