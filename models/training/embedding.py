"""Frozen encoders of images: every embedding of a fold is computed once and kept, and a head is trained on them.

PainFormer's protocol for pain: the encoder rests, the head learns from (B, 160) embeddings with augmentation *of the
embeddings*: `basic`, with its probability, turns the sign of a window's embedding and adds Gaussian noise; `mask` sets
a random run of 10-20 % of an embedding's numbers to zero. `tiny-biomoe-frozen` is the same on Tiny-BioMoE's 192, which
its paper fine-tunes; it is there for the price of a linear head.

Without the authors' weights (option `published`) the encoder is random, its features are those of random filters, and
whoever makes a bundle of it says so (`Network.backbone`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from models.blocks.backbone import ImageBackbone
from models.data.base import WindowSet
from models.data.guards import Parts
from models.image_pipeline import ImagePipeline
from models.published import PublishedWeightsError, load_file
from models.published_files import WeightsFileError
from models.training.drawing import Drawing, images_of
from models.training.loop import Examples, OnEpoch, class_weights, fit, predict
from models.training.network import Network, Read, fresh_model, learning_windows, learnt_of, refused, stage_seed, tensor
from models.training.recipe import Fitted, Task
from models.training.schedules import Plan, plan_of
from models.training.tune import tuned

_log = logging.getLogger(__name__)

_IMAGES_AT_A_TIME = 16


class EmbeddingAugmentation:
    """Augments a batch of embeddings.

    Args:
        strengths: `embedding_basic` and `embedding_mask`, probabilities; `embedding_noise`, standard deviation as a
            multiple of each embedding's own; `embedding_mask_least` and
            `embedding_mask_greatest`, shares of its length.
    """

    def __init__(self, strengths: Mapping[str, float]) -> None:
        self._basic, self._noise, self._mask, self._least, self._greatest = (
            float(strengths.get(f"embedding_{name}", 0.0))
            for name in ("basic", "noise", "mask", "mask_least", "mask_greatest")
        )

    def __bool__(self) -> bool:
        return bool(self._basic or self._mask)

    def __call__(self, embeddings: tuple[Tensor, ...], draws: Generator) -> tuple[Tensor, ...]:
        """(B, D) each -> the same shapes; all embeddings of a window are turned together or not at all."""
        count = len(embeddings[0])
        turned = torch.rand(count, generator=draws)[:, None] < self._basic
        changed = []
        for one in embeddings:
            noise = torch.randn(one.shape, generator=draws).to(one)
            noisy = -one + self._noise * one.std(dim=1, keepdim=True, unbiased=False) * noise
            changed.append(self._masked(torch.where(turned.to(one.device), noisy, one), draws))
        return tuple(changed)

    def _masked(self, x: Tensor, draws: Generator) -> Tensor:
        width = x.shape[1]
        chance, share, place = (torch.rand(len(x), generator=draws)[:, None] for _ in range(3))
        greatest = max(self._least, self._greatest)
        length = torch.round((self._least + (greatest - self._least) * share) * width)
        start = torch.floor(place * (width - length + 1.0))
        at = torch.arange(width)[None, :]
        hidden = (chance < self._mask) & (at >= start) & (at < start + length)
        return x.masked_fill(hidden.to(x.device), 0.0)


class _Given(nn.Module):
    """Stands in for an encoder whose embeddings have been computed."""

    def forward(self, embeddings: Tensor, *, with_attention: bool = False) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        return embeddings, {}


@dataclass(frozen=True, kw_only=True)
class FrozenRecipe:
    """`painformer-frozen` and `tiny-biomoe-frozen`: a head on the embeddings of images of all inputs.

    Args:
        name: Of the recipe and its method.
        architecture: `painformer` or `tiny-biomoe`.
        on_epoch: Is told how it goes.
    """

    name: str
    architecture: str
    on_epoch: OnEpoch | None = None

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        """See `models.training.recipe.Recipe`.

        Raises:
            ConfigError: If the published weights cannot be read, or the windows lack something.
        """
        if many := [item.name for item in task.inputs if item.channels != 1]:
            raise refused(self.name, f"{many[0]} has several channels; images are drawn of one")
        train, validation = learning_windows(self.name, parts, task)
        inputs = images_of(self.architecture, task.inputs, task.options.get("images"))
        read = Drawing(task.inputs, inputs)
        task, choices = tuned(self, parts, task, seed=seed)
        plan = plan_of(self.name, task.schedule, task.options, ordinal=task.ordinal)
        settings = plan.stage("model", stage_seed(seed, f"{self.name}.model"))
        model = self._fresh(plan, [item.name for item in inputs], len(task.classes), seed)
        known = _published(self.name, model, task.options.get("published"))

        signals = tuple(item.name for item in task.inputs)
        embedded = [
            _embedded(model.backbone, read, windows, signals, settings.device) for windows in (train, validation)
        ]
        of_train, of_validation = (
            Examples(inputs=tuple(one[item.name] for item in inputs), labels=torch.from_numpy(windows.labels))
            for one, windows in zip(embedded, (train, validation), strict=True)
        )
        backbone = model.backbone
        model.backbone = _Given()
        try:
            augmentation = EmbeddingAugmentation(plan.augmentation)
            result = fit(
                lambda *tokens: model(dict(zip(model.images, tokens, strict=True))).logits,
                model,
                train=of_train,
                validation=of_validation,
                settings=settings,
                weights=class_weights(of_train.labels, model.classes) if plan.class_weights else None,
                augment=augmentation or None,
                on_epoch=self.on_epoch,
            )
        finally:
            model.backbone = backbone
        network = Network(
            model=model.freeze_backbone().eval(),
            inputs=inputs,
            signals=signals,
            learnt=learnt_of(self.name, parts, *choices),
            history={"model": result},
            read=read,
            judged_batch=_IMAGES_AT_A_TIME,
            device=settings.device,
            backbone=known,
        )
        return {self.name: network}

    def _fresh(self, plan: Plan, images: list[str], classes: int, seed: int) -> ImagePipeline:
        weights = stage_seed(seed, f"{self.name}.model/weights")
        model = fresh_model(self.name, self.architecture, weights, inputs=images, classes=classes, **plan.arguments)
        assert isinstance(model, ImagePipeline)
        return model.freeze_backbone()


def _published(recipe: str, model: ImagePipeline, path: object) -> str:
    """Load the encoder's published weights where a file is named; `published` or `random`."""
    if not path:
        _log.warning("%s: the encoder's weights are random; name the authors' file as option `published`", recipe)
        return "random"
    try:
        found = load_file(model.architecture.replace("-", "_"), Path(str(path)))
    except (WeightsFileError, PublishedWeightsError) as error:
        raise refused(recipe, f"published: {error}") from None
    assert isinstance(found.model, ImageBackbone)
    model.backbone.load_state_dict(found.model.state_dict())
    model.freeze_backbone()
    return "published"


def _embedded(
    backbone: nn.Module, read: Read, windows: WindowSet, signals: tuple[str, ...], device: str
) -> dict[str, Tensor]:
    """(n, D) of every image, drawn and embedded a few windows at a time: an image takes 150 times its signal's room."""
    _log.info("embeds %d windows", len(windows))

    def forward(*batch: Tensor) -> Tensor:
        drawn = read(dict(zip(signals, batch, strict=True)))
        return torch.stack([backbone(image)[0] for image in drawn.values()], dim=1)

    names = list(read({name: tensor(windows.inputs[name][:1]) for name in signals}))
    found = predict(
        forward, backbone, [tensor(windows.inputs[name]) for name in signals], _IMAGES_AT_A_TIME, device=device
    )
    return {name: found[:, number] for number, name in enumerate(names)}
