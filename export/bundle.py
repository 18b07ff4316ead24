"""From a trained module to a bundle: export, check against torch, write the folder."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.fill import fill_model
from export.folder import write_folder
from export.parity import BATCHES, RULE, Graphs, ParityError, check, check_mutations, summary
from export.to_onnx import to_onnx
from export.weights import Stored, share
from models.base import PainModel, Shapes
from monitor.bundle import EXPLAIN_ONNX, MODEL_ONNX, Bundle, BundleSpec, InputSpec
from monitor.scoring.session import SCORE_OUTPUTS, OnnxRunner

CARD = "card.md"

_log = logging.getLogger(__name__)


def write_bundle(*, model: PainModel, spec: BundleSpec | Mapping[str, Any], card: str, out: Path) -> Bundle:
    """Export a model and write its bundle, if and only if the graphs say what the module says.

    Takes about a minute: scoring and explaining graph are each exported twice, with the model's weights and with
    fill weights, under which attention matters.

    Args:
        model: Trained module; unchanged.
        spec: model.json. `architecture`, `paper`, `attention`, `parameters`, `flops`, `parity`, `card` and `sha256`
            follow from the model and may be left out.
        card: Text of the model card, Markdown.
        out: Folder to write; replaced if it exists.

    Raises:
        ParityError: If a graph differs from the module, or the check would not have noticed a dead tensor.
        ValueError: If the spec is not that of this model, or the bundle is too large.
        BundleError: If ONNX Runtime refuses the result.
    """
    given = spec.model_dump() if isinstance(spec, BundleSpec) else dict(spec)
    shapes = _shapes(given, model)
    derived: dict[str, Any] = {
        "architecture": model.architecture,
        "attention": [asdict(item) for item in model.attention_maps(shapes)],
        "parameters": model.parameter_count(),
        "flops": model.flops(shapes),
        "paper": model.paper,
        "card": CARD,
    }

    # Everything that can be refused is refused before the minute that exporting takes.
    valid = BundleSpec.model_validate(given | derived | {"parity": {}, "sha256": {}})
    if len(valid.classes) != model.classes:
        raise ValueError(f"the spec has {len(valid.classes)} classes, the model {model.classes}")

    files, parity = export_checked(model, shapes)
    complete = valid.model_copy(update={"parity": parity})
    bundle = write_folder(spec=complete, files={**files, CARD: card.encode()}, out=out)
    OnnxRunner([bundle])
    return bundle


def export_checked(model: PainModel, shapes: Shapes) -> tuple[dict[str, bytes], dict[str, float | str]]:
    """Export a model and check parity with its own weights and with fill weights.

    Args:
        model: Trained module; unchanged.
        shapes: Of every input, without the batch axis.

    Returns:
        The files of `export_graphs`, and the figures for model.json.

    Raises:
        ParityError: See `write_bundle`.
    """
    filled = copy.deepcopy(model)
    fill_model(filled)
    _log.info("exporting %s with fill weights", model.architecture)
    fill_graphs = Graphs(export_graphs(filled, shapes))
    figures: dict[str, float | str] = {"rule": RULE, "batches": ", ".join(map(str, BATCHES))}
    figures |= summary("fill", check(filled, fill_graphs, shapes))
    weakest = check_mutations(filled, fill_graphs, shapes)
    probes = len(model.parity_probes())
    figures |= {"mutations": f"{probes} of {probes} noticed", "mutations.weakest_over_bound": float(f"{weakest:.3g}")}

    _log.info("exporting %s with its own weights", model.architecture)
    files = export_graphs(model, shapes)
    figures |= summary("shipped", check(model, Graphs(files), shapes))
    return files, figures


def export_graphs(model: PainModel, shapes: Shapes, *, stored: Stored = "float32") -> dict[str, bytes]:
    """model.onnx, explain.onnx where the model has maps, and the weights.bin that both read, by name.

    Args:
        model: With weights that `export.weights.rounded` has rounded, if they shall be stored as float16.
        shapes: Of every input, without the batch axis.
        stored: How weights lie on disk.
    """
    outputs = {MODEL_ONNX: SCORE_OUTPUTS, EXPLAIN_ONNX: tuple(m.name for m in model.attention_maps(shapes))}
    graphs = {name: to_onnx(model, outputs=names, shapes=shapes) for name, names in outputs.items() if names}
    return share(graphs, stored=stored)


def _shapes(spec: Mapping[str, Any], model: PainModel) -> dict[str, tuple[int, ...]]:
    inputs = [InputSpec.model_validate(item) for item in spec["inputs"]]
    names = tuple(item.name for item in inputs)
    if names != model.input_names:
        raise ValueError(f"the spec has the inputs {names}, the model {model.input_names}")
    return {item.name: item.shape for item in inputs}


__all__ = ["CARD", "ParityError", "export_checked", "export_graphs", "write_bundle"]
