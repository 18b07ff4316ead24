"""The staged recipe of the CrossMod-Transformer paper, in little.

Each part is trained alone with a temporary head, then rests, and its tokens feed the next: FCN and ALSTM of each
signal, the transformer block of each signal, and at last the block that fuses the signals. Because what rests is
computed once, this costs a fraction of training end to end.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from models.crossmod_parts import WIDTH, SignalEncoder, TransformerBlock, stage_head
from models.crossmod_transformer import CrossModTransformer
from models.training.loop import Examples, FitResult, FitSettings, OnEpoch, class_weights, fit, predict

_log = logging.getLogger(__name__)


_FCN: Final = FitSettings(epochs=10, milestone=7, batch=32, limit_s=280.0)
_ALSTM: Final = FitSettings(epochs=12, milestone=9, batch=32, limit_s=110.0)
_BLOCK: Final = FitSettings(epochs=4, milestone=3, batch=32, limit_s=330.0)
_FUSION: Final = FitSettings(epochs=8, milestone=6, batch=32, limit_s=480.0)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the stages; together some 12 minutes of one core for 2,400 windows."""

    fcn: FitSettings = _FCN
    alstm: FitSettings = _ALSTM
    block: FitSettings = _BLOCK
    fusion: FitSettings = _FUSION


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """Windows of all inputs with their labels."""

    inputs: Mapping[str, Tensor]
    """(n, 1, S) by input name."""
    labels: Tensor
    """(n,)."""


def train_crossmod(
    model: CrossModTransformer, *, train: Signals, validation: Signals, recipe: Recipe
) -> dict[str, FitResult]:
    """Train a model in place; it ends in evaluation mode.

    Args:
        model: Fresh.
        train: Windows that are learnt from; classes count the same whatever their numbers.
        validation: Windows of other subjects, for early stopping.
        recipe: How long each stage lasts.

    Returns:
        How each stage went, by name: `eda.fcn`, ..., `fusion`.

    Raises:
        ValueError: If the model is of a preset other than "tables".
    """
    if model.arguments["preset"] != "tables":
        raise ValueError(f"preset {model.arguments['preset']!r} is not trained in stages")
    results: dict[str, FitResult] = {}
    weights = class_weights(train.labels, model.classes)
    tokens: list[tuple[Tensor, Tensor]] = []
    for number, name in enumerate(model.input_names):
        encoder = model.encoders[name]
        assert isinstance(encoder, SignalEncoder)
        signals = train.inputs[name], validation.inputs[name]
        pairs: list[tuple[Tensor, Tensor]] = []
        for part, settings in (("fcn", recipe.fcn), ("alstm", recipe.alstm)):
            results[f"{name}.{part}"] = _train_part(
                encoder, part, model.classes, signals, train, validation, weights, _reseeded(settings, number)
            )
            pairs.append(tuple(resting_tokens(encoder, part, signal) for signal in signals))  # type: ignore[arg-type]
        (fcn, fcn_v), (alstm, alstm_v) = pairs
        results[f"{name}.block"] = train_block(
            encoder.block,
            nn.Linear(WIDTH, model.classes),
            Examples(inputs=(fcn, alstm), labels=train.labels),
            Examples(inputs=(fcn_v, alstm_v), labels=validation.labels),
            weights,
            _reseeded(recipe.block, number),
            f"{name}.block",
        )
        fused = Passed(encoder.block)
        tokens.append((predict(fused, fused, (fcn, alstm)), predict(fused, fused, (fcn_v, alstm_v))))
    results["fusion"] = train_block(
        model.block,
        model.fc4,
        Examples(inputs=tuple(t for t, _ in tokens), labels=train.labels),
        Examples(inputs=tuple(v for _, v in tokens), labels=validation.labels),
        weights,
        recipe.fusion,
        "fusion",
    )
    model.eval()
    return results


class Passed(nn.Module):
    """The tokens that a block passes on: FC1-3 at every time step, as in `SignalEncoder.forward`."""

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two sequences (B, S, width) -> (B, S, 128)."""
        return self.block.features(self.block(first, second)[0])


def _reseeded(settings: FitSettings, number: int) -> FitSettings:
    return replace(settings, seed=settings.seed + number)


def _train_part(
    encoder: SignalEncoder,
    part: str,
    classes: int,
    signals: tuple[Tensor, Tensor],
    train: Signals,
    validation: Signals,
    weights: Tensor,
    settings: FitSettings,
) -> FitResult:
    """Train the FCN or the ALSTM of one signal with a temporary head."""
    _log.info("%s", part)
    torch.manual_seed(settings.seed)
    head = stage_head(classes)
    body: nn.Module = getattr(encoder, part)
    return fit(
        lambda signal: head(encoder.stage_features(signal, part)),
        nn.ModuleList([body, head]),
        train=Examples(inputs=(signals[0],), labels=train.labels),
        validation=Examples(inputs=(signals[1],), labels=validation.labels),
        settings=settings,
        weights=weights,
    )


def train_block(
    block: TransformerBlock,
    head: nn.Module,
    train: Examples,
    validation: Examples,
    weights: Tensor | None,
    settings: FitSettings,
    name: str,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train a transformer block and a head on two token sequences that rest.

    Args:
        block: Of one signal, or the one that fuses two.
        head: 128 -> classes.
        train: Two sequences (n, S, width).
        validation: The same of other subjects.
        weights: Of the classes.
        settings: How.
        name: Of the stage.
        on_epoch: Is told how it goes.
    """
    _log.info("%s", name)

    def forward(first: Tensor, second: Tensor) -> Tensor:
        return head(block.features(block(first, second)[0].mean(dim=1)))

    return fit(
        forward,
        nn.ModuleList([block, head]),
        train=train,
        validation=validation,
        settings=settings,
        weights=weights,
        stage=name,
        on_epoch=on_epoch,
    )


def resting_tokens(encoder: SignalEncoder, part: str, signal: Tensor, device: str = "cpu") -> Tensor:
    """Tokens (n, S, 128) of a part that rests: `fcn` or `alstm`."""
    body = getattr(encoder, part)
    return predict(body if part == "fcn" else (lambda x: body(x)[0]), body, (signal,), device=device)
