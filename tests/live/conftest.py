"""Live tests talk real LSL between processes, on this machine alone and in a session of their own."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONFIG = """\
[multicast]
ResolveScope = machine
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = pain-test-{session}
[log]
level = -3
"""

# liblsl reads its configuration once, at its first use in a process: set it before anything here is imported, and
# hand it down to the processes that the tests start.
_FOLDER = tempfile.TemporaryDirectory(prefix="pain-lsl-")
_PATH = Path(_FOLDER.name) / "lsl_api.cfg"
_PATH.write_text(_CONFIG.format(session=uuid.uuid4().hex), encoding="utf-8")
os.environ["LSLAPICFG"] = str(_PATH)


def pytest_sessionfinish() -> None:
    """Remove the configuration."""
    _FOLDER.cleanup()


@pytest.fixture(scope="session")
def lsl() -> None:
    """LSL works here. Where it does not: on CI a failure, elsewhere a reason to skip."""
    from tests.live.outlets import Outlets

    reason = ""
    try:
        from monitor.sources.lsl_discovery import look

        with Outlets() as outlets:
            source_id = outlets.create(name="probe", rate=10.0)
            if not any(info.source_id() == source_id for _ in range(3) for info in look(1.0)):
                reason = "an outlet of another process on this machine is not found"
    except Exception as error:  # noqa: BLE001 - whatever stops LSL here is the reason to report
        reason = f"{type(error).__name__}: {error}"
    if reason:
        message = f"LSL does not work here: {reason}"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def outlets(lsl: None) -> Iterator[object]:
    """A process that offers streams as it is told."""
    from tests.live.outlets import Outlets

    with Outlets() as process:
        yield process
