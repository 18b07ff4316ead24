"""From a trained module to a bundle: export, check against torch, write the folder."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.fill import fill_model, wake_gates
from export.folder import write_folder
from export.parity import BATCHES, PROBED, RULE, Graphs, ParityError, check, check_mutations, make_inputs, summary
from export.precision import MOST_CHANGE, RoundingError, noise_floor, probability_change
from export.to_onnx import pruned, to_onnx
from export.weights import Stored, rounded, share
from models.base import PainModel, Shapes
from monitor.bundle import BundleSpec, InputSpec
from monitor.bundle_folder import EXPLAIN_ONNX, MODEL_ONNX, Bundle
from monitor.feature_space import FEATURES_NPZ
from monitor.scoring.session import SCORE_OUTPUTS, OnnxRunner

CARD = "card.md"

_log = logging.getLogger(__name__)


def write_bundle(
    *,
    model: PainModel,
    spec: BundleSpec | Mapping[str, Any],
    card: str,
    out: Path,
    stored: Stored | None = None,
    samples: Mapping[str, NDArray[np.float32]] | None = None,
    features: bytes | None = None,
) -> Bundle:
    """Export a model and write its bundle, if and only if the graphs say what the module says.

    Takes about a minute, with images some: the graph is exported twice, with the model's weights and with fill
    weights, under which attention matters.

    Args:
        model: Trained module; unchanged.
        spec: model.json. `architecture`, `paper`, `attention`, `parameters`, `flops`, `parity`, `card` and `sha256`
            follow from the model and may be left out.
        card: Text of the model card, Markdown.
        out: Folder to write; replaced if it exists.
        stored: How weights lie on disk; None: as `weights.stored` of the spec says. With `float16` the model that is
            written, and compared, is the one with rounded weights; what rounding changes is reported apart.
        samples: Real windows, (windows, *shape) by input name, to look at that change on besides random ones.
        features: Content of features.npz (see `monitor.feature_space`), for a bundle that limits the distance.

    Raises:
        ParityError: If a graph differs from the module, or the check would not have noticed a dead tensor.
        RoundingError: If rounding moves a probability of a trained model by more than `MOST_CHANGE`.
        ValueError: If the spec is not that of this model, or a weight is beyond half precision.
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
    weights = valid.weights.model_copy(update={"stored": stored or valid.weights.stored})

    kept, rounding = model, {}
    if weights.stored == "float16":
        kept = rounded(model)
        rounding = _rounding(model, kept, shapes, valid, samples)
    files, parity = export_checked(kept, shapes, stored=weights.stored)
    complete = valid.model_copy(update={"parity": parity | rounding, "weights": weights})
    beside = {CARD: card.encode()} | ({} if features is None else {FEATURES_NPZ: features})
    bundle = write_folder(spec=complete, files={**files, **beside}, out=out)
    OnnxRunner([bundle])
    return bundle


def _rounding(
    model: PainModel,
    kept: PainModel,
    shapes: Shapes,
    spec: BundleSpec,
    samples: Mapping[str, NDArray[np.float32]] | None,
) -> dict[str, float | str]:
    change, windows = probability_change(model, kept, shapes, samples=samples, temperature=spec.calibration.temperature)
    if spec.weights.head != "random" and not change <= MOST_CHANGE:
        raise RoundingError(
            f"rounding to half precision moves a probability by {change:.3g}, more than {MOST_CHANGE}: store float32"
        )
    real = 0 if samples is None else len(next(iter(samples.values())))
    looked_at = f"{windows - real} random" + (f", {real} of data" if real else "")
    return {"rounding.max_probability_change": float(f"{change:.3g}"), "rounding.windows": looked_at}


def export_checked(
    model: PainModel, shapes: Shapes, *, stored: Stored = "float32"
) -> tuple[dict[str, bytes], dict[str, float | str]]:
    """Export a model and check parity with its own weights and with fill weights.

    Args:
        model: Trained module, rounded if it is stored as float16; unchanged.
        shapes: Of every input, without the batch axis.
        stored: How weights lie on disk.

    Returns:
        The files of `export_graphs`, and the figures for model.json: errors of the graphs, and beside them how far
        the module in float32 is from itself in float64.

    Raises:
        ParityError: See `write_bundle`.
    """
    filled = fill_copy(model, shapes, stored=stored)
    _log.info("exporting %s with fill weights", model.architecture)
    fill_graphs = Graphs(export_graphs(filled, shapes, stored=stored))
    figures: dict[str, float | str] = {"rule": RULE, "batches": ", ".join(map(str, BATCHES))}
    figures |= summary("fill", check(filled, fill_graphs, shapes))
    weakest = check_mutations(filled, fill_graphs, shapes)
    probes = len(model.parity_probes())
    figures |= {"mutations": f"{probes} of {probes} noticed", "mutations.weakest_over_bound": float(f"{weakest:.3g}")}

    _log.info("exporting %s with its own weights", model.architecture)
    files = export_graphs(model, shapes, stored=stored)
    figures |= summary("shipped", check(model, Graphs(files), shapes))
    figures |= noise_floor(model, shapes)
    return files, figures


def fill_copy(model: PainModel, shapes: Shapes, *, stored: Stored = "float32") -> PainModel:
    """A copy at fill weights whose gates depend on the inputs of the check, rounded where it is stored as float16."""
    filled = copy.deepcopy(model)
    fill_model(filled)
    wake_gates(filled, {name: torch.from_numpy(values) for name, values in make_inputs(shapes, PROBED).items()})
    return rounded(filled) if stored == "float16" else filled.train().eval()


def export_graphs(model: PainModel, shapes: Shapes, *, stored: Stored = "float32") -> dict[str, bytes]:
    """model.onnx, explain.onnx where the model has maps, and the weights.bin that both read, by name.

    Args:
        model: With weights that `export.weights.rounded` has rounded, if they shall be stored as float16.
        shapes: Of every input, without the batch axis.
        stored: How weights lie on disk.
    """
    maps = tuple(m.name for m in model.attention_maps(shapes))
    # Exported once: what scores and what explains are cut from the same graph.
    graph = to_onnx(model, outputs=(*SCORE_OUTPUTS, *maps), shapes=shapes)
    outputs = {MODEL_ONNX: SCORE_OUTPUTS, EXPLAIN_ONNX: maps}
    return share({name: pruned(graph, names) for name, names in outputs.items() if names}, stored=stored)


def _shapes(spec: Mapping[str, Any], model: PainModel) -> dict[str, tuple[int, ...]]:
    inputs = [InputSpec.model_validate(item) for item in spec["inputs"]]
    names = tuple(item.name for item in inputs)
    if names != model.input_names:
        raise ValueError(f"the spec has the inputs {names}, the model {model.input_names}")
    return {item.name: item.shape for item in inputs}


__all__ = ["CARD", "ParityError", "RoundingError", "export_checked", "export_graphs", "fill_copy", "write_bundle"]
