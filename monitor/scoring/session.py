"""Runs the graphs of bundles with ONNX Runtime: one window at a time, one thread, nothing left spinning.

The only place that imports onnxruntime. A score at batch 1 on one CPU thread is the same bit for bit each time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

# ONNX Runtime 1.29 and later otherwise tells its maker over the internet which models run where; read when imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort

from monitor.bundle import BundleSpec
from monitor.bundle_folder import WEIGHTS_BIN, Bundle
from monitor.errors import BundleError
from monitor.feature_space import FeatureSpace, read_feature_space
from monitor.scoring.graph_file import external_locations
from monitor.scoring.scorer import RawScore
from monitor.types import Float32Array

Device: TypeAlias = Literal["cpu", "cuda", "auto"]

SCORE_OUTPUTS: Final = ("logits", "features")

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"

# ONNX Runtime's fused kernel for residual + LayerNorm is scalar code on the CPU: five times the cost of the two
# operators that it replaces, and a tenth of CrossMod's whole time.
_SLOW_FUSIONS: Final = ["SkipLayerNormFusion"]

_log = logging.getLogger(__name__)


class OnnxRunner:
    """Scores and explains windows with the bundles that it was given (see `monitor.scoring.scorer.Runner`).

    Args:
        bundles: Verified bundles of different names.
        device: `cpu`; `cuda`, refused where it cannot be had; or `auto`, which logs what it took.

    Raises:
        BundleError: If a graph does not match its model.json, cannot be run, or the device cannot be had.
    """

    def __init__(self, bundles: Sequence[Bundle], *, device: Device = "cpu") -> None:
        self._bundles = {bundle.spec.name: bundle for bundle in bundles}
        if len(self._bundles) != len(bundles):
            names = ", ".join(bundle.spec.name for bundle in bundles)
            raise BundleError("two bundles share a name", where=names, todo="Give each bundle once")
        self._device = device
        for bundle in bundles:
            _check_listed(bundle)
        self._spaces = {
            bundle.spec.name: read_feature_space(bundle.features_npz)
            for bundle in bundles
            if bundle.features_npz is not None
        }
        self._scoring = {
            name: _open_scoring(bundle, device, self._spaces.get(name)) for name, bundle in self._bundles.items()
        }
        self._explaining: dict[str, ort.InferenceSession] = {}
        for bundle in bundles:
            _check_explain(bundle)

    @property
    def providers(self) -> dict[str, str]:
        """What each bundle really runs on, by name."""
        return {name: session.get_providers()[0] for name, session in self._scoring.items()}

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        """Score one window.

        Args:
            bundle: Name of the bundle.
            inputs: By input name, (channels, samples) float32.
        """
        logits, features = self._scoring[bundle].run(SCORE_OUTPUTS, _batch_of_one(inputs))
        space = self._spaces.get(bundle)
        distance = None if space is None else space.distance(features[0])
        return RawScore(logits=logits[0], features=features[0], distance=distance)

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """Attention maps of one window by name, without a batch axis; empty where the bundle has none.

        The graph is opened at the first call and kept: most sessions are never looked into.
        """
        source = self._bundles[bundle]
        if source.explain_onnx is None:
            return {}
        if bundle not in self._explaining:
            self._explaining[bundle] = open_session(source.explain_onnx, device=self._device)
        names = [item.name for item in source.spec.attention]
        maps = self._explaining[bundle].run(names, _batch_of_one(inputs))
        return {name: values[0] for name, values in zip(names, maps, strict=True)}


def open_session(model: Path | bytes, *, device: Device = "cpu", optimise: bool = True) -> ort.InferenceSession:
    """Open a graph on one thread.

    Args:
        model: File, whose weights may lie in `weights.bin` beside it and nowhere else; or the bytes of a graph that
            holds all of its own.
        device: See `OnnxRunner`.
        optimise: Let ONNX Runtime rewrite the graph; without, it opens faster and runs slower.

    Raises:
        BundleError: If the graph cannot be opened, reads another file, or the device cannot be had.
    """
    where = str(model) if isinstance(model, Path) else "model"
    _read_by(model, where)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL

    wanted = _provider(device, where)
    try:
        session = ort.InferenceSession(
            str(model) if isinstance(model, Path) else model,
            options,
            providers=[wanted] if wanted == _CPU else [wanted, _CPU],
            disabled_optimizers=_SLOW_FUSIONS if wanted == _CPU else None,
        )
    # ONNX Runtime's exceptions share no base but Exception, and all of them mean that this graph cannot be run.
    except Exception as error:
        raise BundleError(f"ONNX Runtime cannot open the graph ({_first_line(error)})", where=where) from error

    # A provider that is listed but cannot start is dropped without an error.
    got = session.get_providers()[0]
    if got != wanted and device != "auto":
        raise BundleError(f"{wanted} was asked for and {got} was given", where=where, todo=_NO_CUDA)
    if device == "auto":
        _log.info("%s runs on %s", where, got)
    return session


def _read_by(model: Path | bytes, where: str) -> frozenset[str]:
    """Files besides itself that a graph reads, all of them allowed."""
    try:
        locations = external_locations(model.read_bytes() if isinstance(model, Path) else model)
    except (OSError, ValueError) as error:
        raise BundleError(f"ONNX Runtime cannot open the graph ({_first_line(error)})", where=where) from error
    if others := sorted(locations - ({WEIGHTS_BIN} if isinstance(model, Path) else set())):
        raise BundleError(
            f"the graph reads weights from {', '.join(map(repr, others))}; only {WEIGHTS_BIN} in its folder is allowed",
            where=where,
            todo=_REWRITE,
        )
    return locations


def _check_listed(bundle: Bundle) -> None:
    """What the graphs read must be among the files whose hashes were compared."""
    for path in (bundle.model_onnx, bundle.explain_onnx):
        if path is not None and _read_by(path, str(path)) - bundle.spec.sha256.keys():
            raise BundleError(f"{WEIGHTS_BIN} is read, but sha256 does not list it", where=str(path), todo=_REWRITE)


def _provider(device: Device, where: str) -> str:
    if device == "cpu":
        return _CPU
    available = ort.get_available_providers()
    if _CUDA in available:
        return _CUDA
    if device == "auto":
        return _CPU
    raise BundleError(
        f"device is cuda, but ONNX Runtime offers only {', '.join(available)}", where=where, todo=_NO_CUDA
    )


def _open_scoring(bundle: Bundle, device: Device, space: FeatureSpace | None) -> ort.InferenceSession:
    session = open_session(bundle.model_onnx, device=device)
    spec = bundle.spec
    differences = _input_differences(session, spec)
    outputs = {output.name: output for output in session.get_outputs()}
    differences += [f"there is no output {name}" for name in SCORE_OUTPUTS if name not in outputs]
    if "logits" in outputs and tuple(outputs["logits"].shape[1:]) != (len(spec.classes),):
        differences.append(f"logits have shape {outputs['logits'].shape} for {len(spec.classes)} classes")
    if "features" in outputs and len(outputs["features"].shape) != 2:
        differences.append(f"features have shape {outputs['features'].shape}, not (batch, dimensions)")
    _refuse(bundle.model_onnx, differences)

    # The first run allocates; better now than at the first window of a patient.
    zeros = {item.name: np.zeros((1, *item.shape[1:]), dtype=np.float32) for item in session.get_inputs()}
    try:
        logits, features = session.run(SCORE_OUTPUTS, zeros)
    except Exception as error:  # as in open_session
        raise BundleError(f"the graph cannot be run ({_first_line(error)})", where=str(bundle.model_onnx)) from error
    _refuse(bundle.model_onnx, [] if np.isfinite(logits).all() else ["logits of an all-zero window are not finite"])
    if space is not None and features.shape[1:] != (space.dimensions,):
        difference = f"there are {features.shape[1]} features, and features.npz is of {space.dimensions}"
        _refuse(bundle.model_onnx, [difference])
    return session


def _check_explain(bundle: Bundle) -> None:
    if bundle.explain_onnx is None:
        return
    session = open_session(bundle.explain_onnx, optimise=False)
    differences = _input_differences(session, bundle.spec)
    outputs = {output.name: tuple(output.shape[1:]) for output in session.get_outputs()}
    for item in bundle.spec.attention:
        if item.name not in outputs:
            differences.append(f"there is no output {item.name}")
        elif outputs[item.name] != item.shape:
            differences.append(f"{item.name} has shape {outputs[item.name]} instead of {item.shape}")
    _refuse(bundle.explain_onnx, differences)


def _input_differences(session: ort.InferenceSession, spec: BundleSpec) -> list[str]:
    found = {item.name: item for item in session.get_inputs()}
    stated = {item.name: item for item in spec.inputs}
    differences = [f"there is no input {name}" for name in stated.keys() - found.keys()]
    differences += [f"there is an input {name} that model.json does not know" for name in found.keys() - stated.keys()]
    for name in stated.keys() & found.keys():
        shape, kind = found[name].shape, found[name].type
        if kind != "tensor(float)":
            differences.append(f"input {name} is {kind}, not float32")
        if isinstance(shape[0], int):
            differences.append(f"input {name} has a fixed batch of {shape[0]}")
        if not all(isinstance(size, int) for size in shape[1:]):
            differences.append(f"input {name} has a free size other than the batch: {shape}")
        if tuple(shape[1:]) != stated[name].shape:
            differences.append(
                f"input {name} has shape {shape}, not (batch, {', '.join(map(str, stated[name].shape))})"
            )
    return sorted(differences)


def _refuse(path: Path, differences: Sequence[str]) -> None:
    if differences:
        raise BundleError(
            f"the graph does not match model.json: {'; '.join(differences)}",
            where=str(path),
            todo=_REWRITE,
        )


def _batch_of_one(inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    return {name: values[np.newaxis] for name, values in inputs.items()}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip()


_REWRITE: Final = "Write the bundle anew with python -m export"
_NO_CUDA: Final = 'Install onnxruntime-gpu with its CUDA libraries in place of onnxruntime, or set device = "cpu"'
