"""Models with random weights: they cost what trained ones cost. Exported once, then kept."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import platformdirs
from rich.console import Console

from export.folder import write_folder
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec, default_input
from monitor.scoring.session import SCORE_OUTPUTS

if TYPE_CHECKING:
    from models.base import PainModel

ARGUMENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    name: {"inputs": ("eda", "ecg", "emg")}
    for name in ("mscn", "mscn-se", "mscn-tran", "painattnnet", "painattnnet-late", "painattnnet-attention")
}
"""Constructor arguments by architecture: PainAttnNet's family on three signals; others as they are by default."""
MODALITIES: Final = ("EDA", "ECG")

_ARCHITECTURE: Final = "crossmod-transformer"
_SEED: Final = 3
_FALLBACKS: Final[Mapping[str, Mapping[Literal["center", "spread"], float]]] = {
    "EDA": {"center": 2.0, "spread": 0.5},
    "ECG": {"center": 0.0, "spread": 0.15},
}


@functools.cache
def random_model(architecture: str = _ARCHITECTURE) -> tuple[PainModel, bytes]:
    """A model as a torch module, and as the graph that the monitor would run.

    The graph is kept in the user's cache folder until the code that makes it changes.

    Args:
        architecture: Of `models.registry`; built as `ARGUMENTS` says.

    Raises:
        ImportError: If torch or onnx is not installed.
    """
    import torch

    from export.to_onnx import to_onnx
    from models.registry import create_model

    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    arguments = ARGUMENTS.get(architecture, {})
    model = create_model(architecture, **arguments).eval()
    folder = platformdirs.user_cache_path("pain-monitor") / "benchmarks" / architecture
    kept = folder / f"{_recipe(torch.__version__, arguments)}.onnx"
    if kept.exists():
        return model, kept.read_bytes()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists operators of packages that we do not use
    with Console(stderr=True).status(f"Exporting {architecture} (up to a minute, once) ..."):
        graph = to_onnx(model, outputs=SCORE_OUTPUTS, shapes=model.example_shapes()).SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_bytes(graph)
    part.replace(kept)
    for older in folder.glob("*.onnx"):
        if older != kept:
            older.unlink()
    return model, graph


def random_bundle(folder: Path) -> Path:
    """Write the model's bundle, without attention maps.

    Args:
        folder: Parent of the new folder.

    Raises:
        ImportError: As `random_model`.
    """
    model, graph = random_model()
    levels = {"none": 0.0, "moderate": 0.5, "severe": 1.0}
    spec = BundleSpec(
        name="crossmod-random",
        version="1.0.0",
        architecture=model.architecture,
        target="pain",
        inputs=tuple(default_input(modality, fallback=_FALLBACKS[modality]) for modality in MODALITIES),
        classes=tuple(ClassSpec(name=name, level=level) for name, level in levels.items()),
        calibration=CalibrationSpec(prior=(1 / 3, 1 / 3, 1 / 3)),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="random", head="random", alarm_eligible=False),
        parameters=model.parameter_count(),
        flops=model.flops(model.example_shapes()),
        card="card.md",
        intended_use="Benchmarks only; the weights are random.",
    )
    files = {"model.onnx": graph, "card.md": b"# Random weights\n\nFor benchmarks only.\n"}
    return write_folder(spec=spec, files=files, out=folder / spec.name).path


def _recipe(torch_version: str, arguments: Mapping[str, Any]) -> str:
    """Names everything that the graph depends on: weights, architecture, exporter."""
    digest = hashlib.sha256(f"{torch_version} {_SEED} {dict(arguments)}".encode())
    root = Path(__file__).resolve().parents[1]
    for path in (*sorted((root / "models").rglob("*.py")), root / "export" / "to_onnx.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
