"""Every architecture in ONNX Runtime against torch eager, and both against the machine's matrix product.

The weights are random, the same on both sides, and so is the input: what a score says plays no part in what it costs.
Shipped bundles are scored as the engine does, images drawn first where they have some.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.random_model import random_model
from benchmarks.report import Figure, Result, median_of, ratio_of
from benchmarks.side_by_side import Step, take_turns
from monitor.assessment import drawn
from monitor.bundle_folder import Bundle, load_bundle, shipped_bundles
from monitor.scoring.session import SCORE_OUTPUTS, OnnxRunner, open_session
from monitor.types import Float32Array, FloatArray

SGEMM_SIZE: Final = 1024
"""Three matrices of 4 MB: large enough for a library's full rate."""
TOLERANCE: Final = 1e-4
"""Both sides must give the same logits, or the comparison would mean nothing."""
QUICK: Final = ("crossmod-transformer", "mscn-se")
"""What a quick run measures: the others take minutes to export the first time."""
_AIMS: Final = {"painformer": 2.0, "tiny-biomoe": 2.0}
_AIM: Final = 1.5


def run(*, quick: bool) -> Result:
    """Measure one window at batch 1 on one thread.

    Args:
        quick: Few rounds, and of the architectures only `QUICK`.
    """
    rounds = 10 if quick else 50
    left, right = _matrices()
    contenders: dict[str, Step] = {"sgemm, numpy": lambda _: left @ right}
    skipped: list[str] = []
    flops: dict[str, int] = {}
    differences: dict[str, float] = {}
    try:
        from models.registry import list_models

        for name in QUICK if quick else list_models():
            eager, onnx, flops[name], differences[name] = _both(name)
            contenders |= {f"torch {name}": eager, f"onnx {name}": onnx}
        contenders["sgemm, torch"] = _torch_sgemm()
    except ImportError as error:
        skipped.append(f"torch against ONNX Runtime: {error.name} is not installed: pip install 'pain-monitor[train]'")
        flops.clear()
    shipped = {name: load_bundle(name) for name in shipped_bundles()}
    for name, bundle in shipped.items():
        contenders[name] = _shipped(bundle)
    if not shipped:
        skipped.append("shipped bundles: there are none in this installation")
    taken = take_turns([{name: step} for name, step in contenders.items()], rounds=rounds, warm_up=3, label="inference")

    rates = {name: 2 * SGEMM_SIZE**3 / taken[name] for name in taken if name.startswith("sgemm")}
    best = max(rates, key=lambda name: float(np.median(rates[name])))
    figures = [_rate(f"{name} {SGEMM_SIZE} x {SGEMM_SIZE}", rate) for name, rate in rates.items()]
    for name, count in flops.items():
        ours, eager_s = taken[f"onnx {name}"], taken[f"torch {name}"]
        note = f"logits differ by {differences[name]:.1e}; {count / 1e6:.0f} million operations"
        figures += [
            median_of("ONNX Runtime", ours, "ms", of=name, note=note),
            median_of("torch eager", eager_s, "ms", of=name, note="inference_mode, the same weights"),
            ratio_of("torch / ONNX Runtime", eager_s, ours, of=name, aim=_AIMS.get(name, _AIM)),
            _rate("rate", count / ours, of=name),
            _share("of sgemm", count / ours / rates[best], of=name),
        ]
    for name, bundle in shipped.items():
        rate = bundle.spec.flops / taken[name]
        figures += [
            median_of("ONNX Runtime", taken[name], "ms", of=f"shipped {name}", note="as the engine runs it"),
            _rate("rate", rate, of=f"shipped {name}"),
            _share("of sgemm", rate / rates[best], of=f"shipped {name}"),
        ]
    return Result(
        name="inference",
        measured="One window at batch 1 on one thread, each architecture on its published window (PainAttnNet's family "
        f"on three signals, encoders of images on one); {rounds} rounds, all contenders by turns. Shares are of the "
        f"faster sgemm, {best}. A multiply-accumulate counts 2 operations, element-wise work none.",
        figures=tuple(figures),
        skipped=tuple(skipped),
    )


def _both(name: str) -> tuple[Step, Step, int, float]:
    """One model in torch and in ONNX Runtime.

    Returns:
        A step of each, operations a window, and the largest difference of their logits.

    Raises:
        ImportError: If torch or onnx is not installed.
        RuntimeError: If they disagree.
    """
    import torch

    model, graph = random_model(name)
    session = open_session(graph)
    rng = np.random.Generator(np.random.PCG64(5))
    shapes = model.example_shapes()
    inputs = {key: rng.standard_normal((1, *shape)).astype(np.float32) for key, shape in shapes.items()}
    tensors = {key: torch.from_numpy(values) for key, values in inputs.items()}

    def eager(_: int) -> Any:
        with torch.inference_mode():
            return model(tensors).logits.numpy()

    def onnx(_: int) -> Any:
        return session.run(SCORE_OUTPUTS, inputs)[0]

    theirs, ours = eager(0), onnx(0)
    difference = float(np.abs(theirs - ours).max())
    if difference > TOLERANCE * max(1.0, float(np.abs(theirs).max())):
        raise RuntimeError(f"{name}: torch and ONNX Runtime differ by {difference:.2e}; nothing can be compared")
    return eager, onnx, model.flops(shapes), difference


def _shipped(bundle: Bundle) -> Step:
    spec, runner = bundle.spec, OnnxRunner([bundle])
    rng = np.random.Generator(np.random.PCG64(5))
    points: dict[str, Float32Array] = {
        item.name: rng.standard_normal((item.channels, item.samples)).astype(np.float32) for item in spec.inputs
    }
    return lambda _: runner.score(spec.name, drawn(spec, points))


def _matrices() -> tuple[Any, Any]:
    rng = np.random.Generator(np.random.PCG64(4))
    shape = (SGEMM_SIZE, SGEMM_SIZE)
    return rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


def _torch_sgemm() -> Step:
    import torch

    left, right = (torch.from_numpy(matrix) for matrix in _matrices())
    return lambda _: left @ right


def _rate(name: str, per_second: FloatArray, *, of: str = "") -> Figure:
    low, middle, high = (float(value) / 1e9 for value in np.percentile(per_second, [25.0, 50.0, 75.0]))
    return Figure(name=name, value=middle, low=low, high=high, unit="GFLOP/s", of=of)


def _share(name: str, shares: FloatArray, *, of: str) -> Figure:
    low, middle, high = (100.0 * float(value) for value in np.percentile(shares, [25.0, 50.0, 75.0]))
    return Figure(name=name, value=middle, low=low, high=high, unit="%", of=of)
