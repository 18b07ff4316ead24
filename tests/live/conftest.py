"""Live tests talk real LSL and MQTT between processes; tests/conftest.py keeps LSL on this machine, in a session of its
own, and lets none of them skip on CI.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.broker import Broker, missing
from tests.live.outlets import Outlets


@pytest.fixture(scope="session")
def lsl() -> None:
    """LSL works here; where it does not, a reason to skip."""
    try:
        from monitor.sources.lsl_discovery import look

        with Outlets() as outlets:
            source_id = outlets.create(name="probe", rate=10.0)
            found = any(info.source_id() == source_id for _ in range(10) for info in look(1.0))
    except Exception as error:  # noqa: BLE001 - whatever stops LSL here is the reason to report
        pytest.skip(f"LSL does not work here: {type(error).__name__}: {error}")
    if not found:
        pytest.skip("LSL does not work here: an outlet of another process on this machine is not found")


@pytest.fixture
def outlets(lsl: None) -> Iterator[Outlets]:
    """A process that offers streams as it is told."""
    with Outlets() as process:
        yield process


@pytest.fixture(scope="session")
def _mosquitto() -> None:
    """mosquitto can be started here; where it cannot, a reason to skip."""
    if reason := missing():
        pytest.skip(f"no MQTT broker can be started here: {reason}")


@pytest.fixture
def broker(_mosquitto: None, tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto with the shipped configuration."""
    folder = tmp_path / "broker"
    folder.mkdir()
    process = Broker(folder)
    process.start()
    yield process
    process.stop()
