"""Which bed is meant where none is named: the only one, for a screen the first of one engine, else nobody guesses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from monitor.cli.commands import running_bed
from monitor.errors import EngineError
from monitor.locks import BedLock

_OTHER = """
import sys
from pathlib import Path
from monitor.locks import BedLock
lock = BedLock(state=Path(sys.argv[1]), bed="bed9")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_screen_opens_on_the_first_of_one_engines_beds_and_a_command_asks_which(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no engine is running"):
        running_bed(tmp_path, for_screen=True)
    locks = [BedLock(state=tmp_path, bed=name) for name in ("bed2", "bed1")]
    try:
        locks[0].acquire()
        assert running_bed(tmp_path) == "bed2"
        locks[1].acquire()
        with pytest.raises(EngineError, match="bed1, bed2"):
            running_bed(tmp_path)
        assert running_bed(tmp_path, for_screen=True) == "bed1"
        # A screen looks at one engine; which of two is meant, it cannot know.
        with subprocess.Popen(
            [sys.executable, "-c", _OTHER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(EngineError, match="bed1, bed2, bed9"):
                running_bed(tmp_path, for_screen=True)
            other.communicate()
    finally:
        for lock in locks:
            lock.release()
