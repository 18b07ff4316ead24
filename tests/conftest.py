"""What all tests share: where the recordings are, how a run talks LSL, and the rule that CI may not skip live tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
RECORDINGS = REPOSITORY.parent / "shared" / "recordings"

# No property is about time, and a machine that does much else may take its time for any example.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Keep this run's LSL traffic on this machine and apart from every other run; liblsl reads it when it loads.

    Windows are drawn in memory, unless somebody chooses a platform.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that import ONNX Runtime before the monitor does
    if "LSLAPICFG" in os.environ:
        return
    path = Path(config.rootpath) / ".pytest_cache" / f"lsl-{os.getpid()}.cfg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "[multicast]\nResolveScope = machine\n"
        "[lab]\nKnownPeers = {127.0.0.1}\n"
        f"SessionID = pain-monitor-test-{uuid.uuid4().hex[:12]}\n"
        # Known peers are asked on these ports only; 32, the default, are used up by a dozen outlets at once.
        "[ports]\nPortRange = 256\n"
        "[log]\nlevel = -3\n",
        encoding="utf-8",
    )
    os.environ["LSLAPICFG"] = str(path)
    config.add_cleanup(lambda: path.unlink(missing_ok=True))
    config.add_cleanup(lambda: os.environ.pop("LSLAPICFG", None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On CI a live test that cannot run is a failure, not a skip."""
    report = yield
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("live") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a live test may not be skipped on CI: {reason}"
    return report


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings, beside the repository; tests that need it skip where it is absent."""
    if not RECORDINGS.is_dir():
        pytest.skip("the folder shared/recordings is not beside this repository")
    return RECORDINGS


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the sessions, locks or sockets of the user."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg-data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg-run"))
