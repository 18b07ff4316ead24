"""Every architecture and main variant, exported and checked: `python -m export all --check`, and one of each in tests.

What is not trained can be checked as well: the weights are fill weights, under which attention and gates matter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import torch

from export.bundle import export_graphs, fill_copy
from export.parity import BATCHES, Graphs, Parity, ParityError, check, check_mutations
from export.precision import noise_floor
from export.weights import Stored
from models.base import PainModel
from models.registry import create_model, list_models

_THREE: Final = ("eda", "ecg", "emg")
_IMAGES: Final = ("eda_waveform", "eda_spectrogram_psd")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model of the matrix."""

    name: str
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *, stored: Stored = "float32") -> PainModel:
        """The model, at fill weights, in evaluation mode."""
        model = create_model(self.architecture, **self.arguments)
        return fill_copy(model, model.example_shapes(), stored=stored)


def _signals(architecture: str, counts: Sequence[int]) -> Iterator[Case]:
    for count in counts:
        inputs = _THREE[:count]
        name = f"{architecture} {'+'.join(inputs)}"
        yield Case(name=name, architecture=architecture, arguments=MappingProxyType({"inputs": inputs}))


def _table() -> Iterator[Case]:
    for pair in (("eda", "ecg"), ("eda", "bvp")):
        yield Case(
            name=f"crossmod-transformer {'+'.join(pair)}",
            architecture="crossmod-transformer",
            arguments=MappingProxyType({"inputs": pair}),
        )
    for preset in ("fig8", "literal"):
        yield Case(
            name=f"crossmod-transformer {preset}",
            architecture="crossmod-transformer",
            arguments=MappingProxyType({"preset": preset}),
        )
    yield from _signals("mscn", (1, 2, 3))
    yield from _signals("mscn-se", (1, 2, 3))
    yield from _signals("mscn-tran", (1, 3))
    yield from _signals("painattnnet", (1, 2, 3))
    for architecture in ("painattnnet-late", "painattnnet-attention"):
        yield from _signals(architecture, (2, 3))
    for variant in ("se", "vanilla", "ebr"):
        yield Case(name=f"se-cnn {variant}", architecture="se-cnn", arguments=MappingProxyType({"variant": variant}))
    for architecture in ("tiny-biomoe", "painformer"):
        yield Case(name=f"{architecture} one image", architecture=architecture)
        for fusion in ("add", "concat", "decision"):
            yield Case(
                name=f"{architecture} two images, {fusion}",
                architecture=architecture,
                arguments=MappingProxyType({"inputs": _IMAGES, "fusion": fusion}),
            )
    yield Case(
        name="painformer two images, mixer",
        architecture="painformer",
        arguments=MappingProxyType({"inputs": _IMAGES, "head": "mixer"}),
    )
    yield Case(
        name="painformer image and video",
        architecture="painformer",
        arguments=MappingProxyType({"inputs": _IMAGES[:1], "embeds": ("video",)}),
    )


def cases() -> tuple[Case, ...]:
    """The table, and every other architecture of the registry as its constructor builds it."""
    known = list_models()
    table = [case for case in _table() if case.architecture in known]
    named = {case.architecture for case in table}
    return (*table, *(Case(name=name, architecture=name) for name in known if name not in named))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found of one case."""

    case: Case
    parameters: int = 0
    results: tuple[Parity, ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    """See `export.precision.noise_floor`."""
    probes: int = 0
    """Tensors that were zeroed, each noticed."""
    weakest: float = 0.0
    """Smallest error over bound among them."""
    size: int = 0
    """Of all files, bytes."""
    seconds: float = 0.0
    problem: str = ""
    """Empty where all is well."""

    @property
    def worst(self) -> Parity | None:
        """The output that is nearest to its bound."""
        return max(self.results, key=lambda result: result.ratio, default=None)


def examine(
    case: Case, *, stored: Stored = "float16", batches: Sequence[int] = BATCHES, most_probes: int | None = None
) -> Outcome:
    """Export one model and check it; whatever goes wrong is told in the outcome.

    Args:
        case: What to build.
        stored: How its weights lie on disk.
        batches: Batch sizes that are compared.
        most_probes: Zero only so many of the model's steering tensors, spread over all; None: all of them.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    try:
        model = case.build(stored=stored)
        shapes = model.example_shapes()
        files = export_graphs(model, shapes, stored=stored)
        graphs = Graphs(files)
        probes = model.parity_probes()
        if most_probes is not None:
            probes = probes[:: max(1, math.ceil(len(probes) / most_probes))]
        return Outcome(
            case=case,
            parameters=model.parameter_count(),
            results=tuple(check(model, graphs, shapes, batches=batches)),
            noise=noise_floor(model, shapes, batches=batches),
            probes=len(probes),
            weakest=check_mutations(model, graphs, shapes, probes),
            size=sum(map(len, files.values())),
            seconds=time.perf_counter() - began,
        )
    except ParityError as error:
        problem = str(error)
    # An exporter may fail in any way; the table goes on with the next model.
    except Exception as error:  # noqa: BLE001
        problem = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return Outcome(case=case, seconds=time.perf_counter() - began, problem=problem)
