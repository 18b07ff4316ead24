"""CrossMod-Transformer in ONNX Runtime against torch eager, and both against the machine's matrix product.

The weights are random, the same on both sides, and so is the input: what a score says plays no part in what it costs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.random_model import SAMPLES, random_model
from benchmarks.report import Figure, Result, median_of, ratio_of
from benchmarks.side_by_side import Step, take_turns
from monitor.bundle import load_bundle, shipped_bundles
from monitor.scoring.session import SCORE_OUTPUTS, OnnxRunner, open_session
from monitor.types import FloatArray

SGEMM_SIZE: Final = 1024
"""Three matrices of 4 MB: large enough for a library's full rate."""
TOLERANCE: Final = 1e-4
"""Both sides must give the same logits, or the comparison would mean nothing."""


def run(*, quick: bool) -> Result:
    """Measure one window at batch 1 on one thread.

    Args:
        quick: Few rounds.
    """
    rounds = 10 if quick else 200
    left, right = _matrices()
    contenders: dict[str, Step] = {"sgemm, numpy": lambda _: left @ right}
    skipped: list[str] = []
    flops, difference = 0, 0.0
    try:
        eager, onnx, flops, difference = _both()
        contenders |= {"torch": eager, "onnx": onnx, "sgemm, torch": _torch_sgemm()}
    except ImportError as error:
        skipped.append(f"torch against ONNX Runtime: {error.name} is not installed: pip install 'pain-monitor[train]'")
    shipped = {name: load_bundle(name) for name in shipped_bundles()}
    for name, bundle in shipped.items():
        contenders[name] = _shipped(name, OnnxRunner([bundle]))
    if not shipped:
        skipped.append("shipped bundles: there are none in this installation")
    taken = take_turns([{name: step} for name, step in contenders.items()], rounds=rounds, warm_up=5, label="inference")

    rates = {name: 2 * SGEMM_SIZE**3 / taken[name] for name in taken if name.startswith("sgemm")}
    best = max(rates, key=lambda name: float(np.median(rates[name])))
    figures = [_rate(f"{name} {SGEMM_SIZE} x {SGEMM_SIZE}", rate) for name, rate in rates.items()]
    if "onnx" in taken:
        figures += [
            median_of("CrossMod, ONNX Runtime", taken["onnx"], "ms", note=f"logits differ by {difference:.1e}"),
            median_of("CrossMod, torch eager", taken["torch"], "ms", note="inference_mode, the same weights"),
            ratio_of("torch / ONNX Runtime", taken["torch"], taken["onnx"], aim=1.5),
            _rate(
                "CrossMod, ONNX Runtime, as a rate", flops / taken["onnx"], note=f"{flops / 1e6:.0f} million operations"
            ),
            _share("of the sgemm rate: ONNX Runtime", flops / taken["onnx"] / rates[best], best),
            _share("of the sgemm rate: torch eager", flops / taken["torch"] / rates[best], best),
        ]
    for name, bundle in shipped.items():
        figures += [
            median_of(f"shipped {name}", taken[name], "ms", note="as the engine runs it"),
            _share(f"of the sgemm rate: {name}", bundle.spec.flops / taken[name] / rates[best], best),
        ]
    return Result(
        name="inference",
        measured=f"CrossMod-Transformer on two signals of {SAMPLES} points, one window at batch 1, one thread; "
        f"{rounds} rounds, all contenders by turns. A multiply-accumulate counts 2 operations, element-wise work none.",
        figures=tuple(figures),
        skipped=tuple(skipped),
    )


def _both() -> tuple[Step, Step, int, float]:
    """One model in torch and in ONNX Runtime.

    Returns:
        A step of each, operations a window, and the largest difference of their logits.

    Raises:
        ImportError: If torch or onnx is not installed.
        RuntimeError: If they disagree.
    """
    import torch

    model, graph = random_model()
    session = open_session(graph)
    rng = np.random.Generator(np.random.PCG64(5))
    inputs = {name: rng.standard_normal((1, 1, SAMPLES)).astype(np.float32) for name in model.input_names}
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}

    def eager(_: int) -> Any:
        with torch.inference_mode():
            return model(tensors).logits.numpy()

    def onnx(_: int) -> Any:
        return session.run(SCORE_OUTPUTS, inputs)[0]

    theirs, ours = eager(0), onnx(0)
    difference = float(np.abs(theirs - ours).max())
    if difference > TOLERANCE * max(1.0, float(np.abs(theirs).max())):
        raise RuntimeError(f"torch and ONNX Runtime differ by {difference:.2e}; nothing can be compared")
    return eager, onnx, model.flops(model.example_shapes()), difference


def _shipped(name: str, runner: OnnxRunner) -> Step:
    bundle = load_bundle(name)
    rng = np.random.Generator(np.random.PCG64(5))
    inputs = {item.name: rng.standard_normal(item.shape).astype(np.float32) for item in bundle.spec.inputs}
    return lambda _: runner.score(name, inputs)


def _matrices() -> tuple[Any, Any]:
    rng = np.random.Generator(np.random.PCG64(4))
    shape = (SGEMM_SIZE, SGEMM_SIZE)
    return rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


def _torch_sgemm() -> Step:
    import torch

    left, right = (torch.from_numpy(matrix) for matrix in _matrices())
    return lambda _: left @ right


def _rate(name: str, per_second: FloatArray, *, note: str = "") -> Figure:
    low, middle, high = (float(value) / 1e9 for value in np.percentile(per_second, [25.0, 50.0, 75.0]))
    return Figure(name=name, value=middle, low=low, high=high, unit="GFLOP/s", note=note)


def _share(name: str, shares: FloatArray, best: str) -> Figure:
    low, middle, high = (100.0 * float(value) for value in np.percentile(shares, [25.0, 50.0, 75.0]))
    return Figure(name=name, value=middle, low=low, high=high, unit="%", note=f"the faster: {best}")
