"""What a training leaves behind, and `python -m export write` makes a bundle of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.base import PainModel
from models.checkpoint import save_checkpoint
from monitor.bundle import BundleSpec

WINDOWS: Final = 24
"""Held-out windows that are kept, for the export to see what rounding of weights changes on real input."""


def write_result(
    out: Path, *, model: PainModel, spec: BundleSpec, card: str, samples: Mapping[str, NDArray[np.float32]]
) -> None:
    """Write weights.pt, spec.json, card.md and samples.npz.

    Args:
        out: Folder, made if there is none.
        model: Trained.
        spec: model.json, without what the export finds out.
        card: Markdown.
        samples: (windows, *shape) of every input that the model reads.
    """
    out.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, out / "weights.pt")
    (out / "spec.json").write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (out / "card.md").write_text(card, encoding="utf-8")
    np.savez_compressed(out / "samples.npz", **{name: np.asarray(values) for name, values in samples.items()})


def spread(count: int) -> NDArray[np.int64]:
    """Numbers of up to `WINDOWS` windows of `count`, evenly spread over them."""
    return np.unique(np.linspace(0, count - 1, min(count, WINDOWS)).round().astype(np.int64))
