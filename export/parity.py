"""Does the graph say what the torch module says, and would we notice if it did not?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.base import PainModel, Shapes
from monitor.bundle_folder import EXPLAIN_ONNX, MODEL_ONNX, WEIGHTS_BIN
from monitor.scoring.session import open_session

BATCHES: Final = (1, 3, 8)
PROBED: Final = 2
"""Examples on which `check_mutations` compares."""
RULE: Final = "max|a - b| <= 1e-6 + 2e-5 * max|b|"

Arrays = dict[str, NDArray[np.float32]]

_KNOTS: Final = 9
"""Random values along an edge of an image."""


class ParityError(Exception):
    """A graph differs from the module that it was made of, or the check would not have noticed."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far one output of a graph is from the module's."""

    output: str
    batch: int
    error: float
    """max|a - b|."""
    bound: float
    """Largest error that passes."""

    @property
    def ratio(self) -> float:
        """Error over bound; infinite where anything is not finite."""
        return self.error / self.bound if np.isfinite([self.error, self.bound]).all() else float("inf")

    @property
    def passed(self) -> bool:
        """Whether the output is close enough."""
        return self.ratio <= 1.0


def make_inputs(shapes: Shapes, batch: int, *, seed: int = 20) -> Arrays:
    """Random inputs, (batch, *shape) each, the same for a seed.

    Signals, (channels, samples), are smooth walks of about unit range along time. Images, (3, height, width), are
    smooth in 0..1.
    """
    rng = np.random.Generator(np.random.PCG64([seed, batch]))
    return {
        name: _images(rng, batch, shape) if len(shape) == 3 else _walks(rng, batch, shape)
        for name, shape in shapes.items()
    }


def _walks(rng: np.random.Generator, batch: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return (np.cumsum(rng.standard_normal((batch, *shape)), axis=-1) / np.sqrt(shape[-1])).astype(np.float32)


def _images(rng: np.random.Generator, batch: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    coarse = rng.uniform(size=(batch, shape[0], _KNOTS, _KNOTS))
    return (_between(shape[1]) @ coarse @ _between(shape[2]).T).astype(np.float32)


def _between(size: int) -> NDArray[np.float64]:
    """Linear interpolation of `_KNOTS` values to `size`, as a matrix."""
    at = np.linspace(0.0, _KNOTS - 1.0, size)
    return np.stack([np.interp(at, np.arange(_KNOTS), row) for row in np.eye(_KNOTS)], axis=1)


def run_module(model: PainModel, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """All outputs of a torch module in evaluation mode, by name."""
    training = model.training
    model.eval()
    with torch.inference_mode():
        result = model({name: torch.from_numpy(value) for name, value in inputs.items()}, with_attention=True)
    model.train(training)
    outputs = {"logits": result.logits, "features": result.features, **result.attention}
    return {name: value.numpy() for name, value in outputs.items()}


class Graphs:
    """The graphs of one bundle, ready to be compared.

    Args:
        files: model.onnx, and where they are, explain.onnx and weights.bin, by name.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        # ONNX Runtime looks for weights beside the graph, and has read them when it has opened it.
        with tempfile.TemporaryDirectory(prefix="pain-monitor-export-", ignore_cleanup_errors=True) as folder:
            for name in (WEIGHTS_BIN, MODEL_ONNX, EXPLAIN_ONNX):
                if name in files:
                    (Path(folder) / name).write_bytes(files[name])
            self._sessions = [open_session(Path(folder) / name) for name in (MODEL_ONNX, EXPLAIN_ONNX) if name in files]

    def run(self, inputs: Arrays) -> Arrays:
        """All outputs of all graphs, by name."""
        outputs: Arrays = {}
        for session in self._sessions:
            names = [item.name for item in session.get_outputs()]
            outputs.update(zip(names, session.run(names, inputs), strict=True))
        return outputs


def compare(model: PainModel, graphs: Graphs, inputs: Arrays) -> list[Parity]:
    """Compare every output for one batch.

    Raises:
        ParityError: If the names or shapes differ.
    """
    return _compare(run_module(model, inputs), graphs.run(inputs))


def _compare(expected: Arrays, found: Arrays) -> list[Parity]:
    if expected.keys() != found.keys():
        raise ParityError(f"the graphs give {sorted(found)}, the module {sorted(expected)}")
    results = []
    for name, b in expected.items():
        a = found[name]
        if a.shape != b.shape:
            raise ParityError(f"{name} has shape {a.shape} in the graph and {b.shape} in the module")
        error = float(np.max(np.abs(a - b)))
        bound = 1e-6 + 2e-5 * float(np.max(np.abs(b)))
        results.append(Parity(output=name, batch=len(b), error=error, bound=bound))
    return results


def check(model: PainModel, graphs: Graphs, shapes: Shapes, *, batches: Sequence[int] = BATCHES) -> list[Parity]:
    """Compare every output at every batch size.

    Raises:
        ParityError: If one output is further off than `RULE` allows.
    """
    results = [result for batch in batches for result in compare(model, graphs, make_inputs(shapes, batch))]
    if failed := [result for result in results if not result.passed]:
        lines = (f"{r.output} at batch {r.batch}: {r.error:.2e} > {r.bound:.2e}" for r in failed)
        raise ParityError(f"graph and module differ: {'; '.join(lines)}")
    return results


def check_mutations(model: PainModel, graphs: Graphs, shapes: Shapes, names: Sequence[str] | None = None) -> float:
    """Zero one tensor of the module at a time; the comparison with the untouched graphs must fail each time.

    Args:
        model: With filled weights; unchanged afterwards.
        graphs: Made of it.
        shapes: Of every input, without the batch axis.
        names: Tensors to zero, or rows of tensors, `NAME[0:30]`; all of `model.parity_probes()` where None.

    Returns:
        The smallest of the ratios of error to bound, over 1.

    Raises:
        ParityError: If a dead tensor would have passed.
    """
    inputs = make_inputs(shapes, PROBED)
    found = graphs.run(inputs)
    state = model.state_dict()
    weakest = float("inf")
    for name in model.parity_probes() if names is None else names:
        entry = _entry(state, name)
        kept = entry.clone()
        with torch.no_grad():
            entry.zero_()
        try:
            ratio = max(result.ratio for result in _compare(run_module(model, inputs), found))
        finally:
            with torch.no_grad():
                entry.copy_(kept)
        if ratio <= 1.0:
            raise ParityError(f"the check would not notice that {name} is dead ({ratio:.2f} of the bound)")
        weakest = min(weakest, ratio)
    return weakest


def _entry(state: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """The tensor of that name, or the rows of it that the name ends in."""
    key, _, rows = name.partition("[")
    if not rows:
        return state[key]
    first, _, end = rows.removesuffix("]").partition(":")
    return state[key][int(first) : int(end)]


def summary(prefix: str, results: Sequence[Parity]) -> dict[str, float]:
    """The largest errors of logits, features and attention maps over all batches, for model.json."""

    def worst(names: set[str]) -> float:
        return max(result.error for result in results if result.output in names)

    maps = {result.output for result in results} - {"logits", "features"}
    figures = {f"{prefix}.logits": worst({"logits"}), f"{prefix}.features": worst({"features"})}
    if maps:
        figures[f"{prefix}.attention"] = worst(maps)
    figures[f"{prefix}.worst_over_bound"] = max(result.ratio for result in results)
    return {name: float(f"{value:.3g}") for name, value in figures.items()}
