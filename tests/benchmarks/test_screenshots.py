"""The documentation's pictures are taken by one command, as large as they say, and none of them is another's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.screenshots import SIZES, poses

pytestmark = pytest.mark.timeout(600)

STATES = (
    *("calm", "alarming", "calibrating", "sensor-off", "disconnected"),
    *("modalities", "gates", "untrained", "emotion"),
)


@pytest.fixture(scope="module")
def taken(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures of the smaller size, taken as a user would."""
    out = tmp_path_factory.mktemp("screenshots") / "made"
    command = [sys.executable, "-m", "benchmarks", "screenshots", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "qt" not in done.stderr.lower()
    return out


def test_every_state_has_a_picture_of_its_own(taken: Path) -> None:
    width, height = SIZES[0]
    assert {path.name for path in taken.iterdir()} == {f"{name}-{width}x{height}.png" for name in STATES}
    seen = []
    for path in sorted(taken.iterdir()):
        assert path.stat().st_size < 150_000
        with Image.open(path) as image:
            assert image.size == (width, height)
            pixels = np.asarray(image.convert("L"), dtype=np.int16)
        # Dark, but with something in every eighth of it.
        tiles = [tile for rows in np.array_split(pixels, 2) for tile in np.array_split(rows, 4, axis=1)]
        assert all(np.ptp(tile) > 60 for tile in tiles), path.name
        seen.append(pixels)
    for number, one in enumerate(seen):
        assert all(np.count_nonzero(np.abs(one - other) > 40) > 1000 for other in seen[:number])


def test_the_documentation_shows_pictures_that_are_there(repository: Path) -> None:
    shown = set()
    for page in ("README.md", "docs/dashboard.md"):
        text = (repository / page).read_text(encoding="utf-8")
        for link in re.findall(r"\(([\w/-]*screenshots/[\w-]+\.png)\)", text):
            assert (repository / page).parent.joinpath(link).is_file(), f"{page} shows {link}"
            shown.add(Path(link).name)
    assert shown == {f"{name}-{width}x{height}.png" for name in STATES for width, height in SIZES}


def test_all_states_are_simulated_and_say_so() -> None:
    assert [pose.name for pose in poses()] == list(STATES)
    assert all(pose.patient.subject.startswith("sim-") for pose in poses())
