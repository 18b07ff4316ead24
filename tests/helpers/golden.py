"""Reference vectors of tests/golden (see its README for the rules)."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.fill import fill

FOLDER = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Golden:
    """One model's reference: its weights, inputs and outputs."""

    manifest: dict[str, Any]
    arrays: dict[str, NDArray[np.float32]]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Every entry by the reference's own key and in its order, with its CRC-32 checked."""
        state = {}
        for key, (shape, dtype) in self.manifest["state_dict"].items():
            if key in self.manifest.get("structural_buffers", ()):  # a table that the constructor works out
                state[key] = torch.from_numpy(self.arrays[f"buffer/{key}"])
                continue
            is_integer = dtype.startswith("int")
            value = np.zeros(shape, dtype) if is_integer else fill(self.manifest["salt"] + key, tuple(shape))
            assert zlib.crc32(np.ascontiguousarray(value).tobytes()) == self.manifest["fill_crc32"][key], key
            state[key] = torch.from_numpy(value)
        return state

    def inputs(self) -> list[tuple[bool, torch.Tensor]]:
        """(whether for training mode, (B, *shape)) for each input of the manifest."""
        return [(spec.get("mode") == "train", torch.from_numpy(_input(spec))) for spec in self.manifest["inputs"]]

    def assert_close(self, name: str, found: torch.Tensor) -> None:
        """Compare with an array of the reference, within its bound."""
        expected = self.arrays[name]
        values = found.detach().numpy()
        assert values.shape == expected.shape, name
        assert np.all(np.abs(values - expected) <= self.bound(name)), (name, np.abs(values - expected).max())

    def bound(self, name: str) -> NDArray[np.float64]:
        """Largest difference from an array that is rounding."""
        expected = np.abs(self.arrays[name].astype(np.float64))
        if "float32_vs_float64_max_abs_diff" not in self.manifest:  # the transcribed fMRI models state no noise floor
            return np.full_like(expected, 1e-5 + 1e-4 * expected.max())
        noise = self.manifest["float32_vs_float64_max_abs_diff"].get(name, 0.0)
        return 1e-5 + 1e-5 * expected + 10.0 * noise


def load_golden(name: str) -> Golden:
    """Read one reference by its name."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        manifest = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        return Golden(manifest, dict(arrays))


def _input(spec: dict[str, Any]) -> NDArray[np.float32]:
    rng = np.random.Generator(np.random.PCG64(spec["seed"]))
    shape = tuple(spec["shape"])
    values = rng.random(shape) if spec["kind"] == "uniform" else rng.standard_normal(shape)
    if spec["kind"] == "walk":
        values = np.cumsum(values, axis=-1) / np.sqrt(shape[-1])
    elif spec["kind"] == "walk2d":
        values = np.cumsum(np.cumsum(values, axis=-1), axis=-2) / shape[-1]
    else:
        assert spec["kind"] in ("normal", "uniform"), spec
    return (spec["scale"] * values + spec["shift"]).astype(np.float32)
