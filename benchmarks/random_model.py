"""CrossMod-Transformer with random weights: it costs what a trained one costs. Exported once, then kept."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import platformdirs
from rich.console import Console

from export.folder import write_folder
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec, default_input
from monitor.scoring.session import SCORE_OUTPUTS

if TYPE_CHECKING:
    from models.base import PainModel

SAMPLES: Final = 138
MODALITIES: Final = ("EDA", "ECG")

_ARCHITECTURE: Final = "crossmod-transformer"
_SEED: Final = 3
_FALLBACKS: Final[Mapping[str, Mapping[Literal["center", "spread"], float]]] = {
    "EDA": {"center": 2.0, "spread": 0.5},
    "ECG": {"center": 0.0, "spread": 0.15},
}


@functools.cache
def random_model() -> tuple[PainModel, bytes]:
    """The model as a torch module, and as the graph that the monitor would run.

    The graph is kept in the user's cache folder until the code that makes it changes.

    Raises:
        ImportError: If torch or onnx is not installed.
    """
    import torch

    from export.to_onnx import to_onnx
    from models.registry import create_model

    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    model = create_model(_ARCHITECTURE).eval()
    kept = platformdirs.user_cache_path("pain-monitor") / "benchmarks" / f"{_recipe(torch.__version__)}.onnx"
    if kept.exists():
        return model, kept.read_bytes()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists operators of packages that we do not use
    with Console(stderr=True).status("Exporting a model (some twenty seconds, once) ..."):
        shapes = dict.fromkeys(model.input_names, (1, SAMPLES))
        graph = to_onnx(model, outputs=SCORE_OUTPUTS, shapes=shapes).SerializeToString()
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_bytes(graph)
    part.replace(kept)
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


def _recipe(torch_version: str) -> str:
    """Names everything that the graph depends on: weights, architecture, exporter."""
    digest = hashlib.sha256(f"{torch_version} {_SEED} {SAMPLES}".encode())
    root = Path(__file__).resolve().parents[1]
    for path in (*sorted((root / "models").rglob("*.py")), root / "export" / "to_onnx.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
