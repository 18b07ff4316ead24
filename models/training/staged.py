"""CrossMod-Transformer's recipe in stages, for one or two signals, and its first stages alone.

Each part is trained with a temporary head, then rests, and its tokens, computed once, feed the next (Table 4). Every
stage is a method of its own, as in the paper's tables: the temporary heads are kept, and with them each is a network
that can become a bundle (`models/crossmod_unimodal.py`). So one training gives `fcn-eda`, `alstm-eda`, `fat-eda`, the
same of the other signal, and `crossmod`.

What a signal's stages draw depends on the seed, the signal's name and the stage alone: `fcn-eda` is the same network
whether it was trained by `fcn`, by `crossmod` on one signal, or by `crossmod` on two.

Augmentation is of signals, so it reaches FCN and ALSTM; later stages learn from tokens that were computed once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from models.base import PainModel
from models.crossmod_parts import SignalEncoder, TransformerBlock
from models.crossmod_transformer import CrossModTransformer
from models.crossmod_unimodal import CrossModALSTM, CrossModFAT, CrossModFCN
from models.data.guards import Learnt, Parts
from models.training.augment import SignalAugmentation
from models.training.loop import Examples, FitResult, FitSettings, OnEpoch, fit, predict
from models.training.network import (
    Network,
    Signals,
    fresh_model,
    learning_windows,
    learnt_of,
    loss_weights,
    refused,
    signals_of,
    stage_seed,
)
from models.training.recipe import Fitted, Task
from models.training.schedules import Plan, plan_of
from models.training.tune import tuned
from monitor.bundle import InputSpec

_log = logging.getLogger(__name__)

_ARCHITECTURES: Final = {
    "fcn": CrossModFCN.architecture,
    "alstm": CrossModALSTM.architecture,
    "fat": CrossModFAT.architecture,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Learning:
    """What all stages of one training share."""

    recipe: str
    plan: Plan
    seed: int
    classes: int
    train: Signals
    validation: Signals
    weights: Tensor | None
    on_epoch: OnEpoch | None

    def examples(self, *tokens: tuple[Tensor, Tensor]) -> tuple[Examples, Examples]:
        """Training and validation examples of pairs of both."""
        return (
            Examples(inputs=tuple(of_train for of_train, _ in tokens), labels=self.train.labels),
            Examples(inputs=tuple(of_validation for _, of_validation in tokens), labels=self.validation.labels),
        )

    def fresh(self, architecture: str, name: str, part: str) -> PainModel:
        """A network of one signal at the first weights of its stage."""
        dropout = {k: v for k, v in self.plan.arguments.items() if k == "dropout"}
        seed = stage_seed(self.seed, f"{name}.{part}/weights")
        return fresh_model(self.recipe, architecture, seed, inputs=(name,), classes=self.classes, **dropout)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Signal:
    """The trained stages of one signal."""

    models: Mapping[str, PainModel]
    """`fcn`, `alstm`, `fat`: as many as were trained."""
    history: Mapping[str, FitResult]
    """By stage: `fcn`, `alstm`, `block`."""
    tokens: tuple[Tensor, Tensor] | None
    """What the fusion reads, of training and validation windows."""


@dataclass(frozen=True, kw_only=True)
class StagedRecipe:
    """`crossmod`, `fcn`, `alstm` or `fat`.

    Args:
        name: Which. `crossmod` gives all stages as methods, the others themselves, once a signal.
        on_epoch: Is told how it goes.
    """

    name: str
    on_epoch: OnEpoch | None = None

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        """See `models.training.recipe.Recipe`.

        Raises:
            ConfigError: If there are more than two signals for `crossmod`, an input is no signal of one channel, or
                the windows lack something.
        """
        self._check(task)
        train, validation = learning_windows(self.name, parts, task)
        task, choices = tuned(self, parts, task, seed=seed)
        plan = plan_of(self.name, task.schedule, task.options, ordinal=task.ordinal)
        names = [item.name for item in task.inputs]
        of_train = signals_of(train, names)
        learning = _Learning(
            recipe=self.name,
            plan=plan,
            seed=seed,
            classes=len(task.classes),
            train=of_train,
            validation=signals_of(validation, names),
            weights=loss_weights(of_train.labels, len(task.classes), plan.class_weights),
            on_epoch=self.on_epoch,
        )
        methods: dict[str, Fitted] = {}
        stages: dict[str, _Signal] = {}
        whole = self.name == "crossmod" and len(names) == 2
        for item in task.inputs:
            stages[item.name] = signal = _train_signal(learning, item, fuses=whole)
            for part, model in signal.models.items():
                if self.name in ("crossmod", part):
                    of = ("fcn", "alstm", "block") if part == "fat" else (part,)
                    history = {stage: signal.history[stage] for stage in of}
                    methods[f"{part}-{item.name}"] = self._network(
                        f"{part}-{item.name}", model, (item,), parts, history, choices, plan
                    )
        if whole:
            model, history = _train_fusion(learning, stages)
            methods["crossmod"] = self._network("crossmod", model, task.inputs, parts, history, choices, plan)
        return methods

    def _check(self, task: Task) -> None:
        said = [
            f"{item.name} has {item.channels} channels; it reads signals of one"
            for item in task.inputs
            if item.channels != 1
        ]
        if self.name == "crossmod" and len(task.inputs) > 2:
            said.append(f"it fuses two signals, not {len(task.inputs)}; list two inputs")
        if self.name == "crossmod" and len({item.samples for item in task.inputs}) > 1:
            said.append("it fuses windows of as many points of each signal")
        if said or not task.inputs:
            raise refused(self.name, *(said or ["it reads a signal, and none is listed"]))

    @staticmethod
    def _network(
        method: str,
        model: PainModel,
        inputs: tuple[InputSpec, ...],
        parts: Parts,
        history: Mapping[str, FitResult],
        choices: tuple[Learnt, ...],
        plan: Plan,
    ) -> Network:
        return Network(
            model=model.eval(),
            inputs=inputs,
            signals=tuple(item.name for item in inputs),
            learnt=learnt_of(method, parts, *choices),
            history=history,
            device=next(iter(plan.stages.values())).device,
        )


def _train_signal(learning: _Learning, item: InputSpec, *, fuses: bool) -> _Signal:
    """Train the stages of one signal, as far as the recipe has them."""
    name, plan = item.name, learning.plan
    signals = (learning.train.inputs[name], learning.validation.inputs[name])
    train, validation = learning.examples(signals)
    augmentation = _augmentation(learning.recipe, item, plan)
    models: dict[str, PainModel] = {}
    history: dict[str, FitResult] = {}
    for part in ("fcn", "alstm"):
        if part not in plan.stages:
            continue
        model = learning.fresh(_ARCHITECTURES[part], name, part)
        _log.info("%s.%s", name, part)
        history[part] = fit(
            lambda signal, model=model: model({name: signal}).logits,
            model,
            train=train,
            validation=validation,
            settings=plan.stage(part, stage_seed(learning.seed, f"{name}.{part}")),
            weights=learning.weights,
            augment=augmentation or None,
            stage=f"{name}.{part}",
            on_epoch=learning.on_epoch,
        )
        models[part] = model
    if "block" not in plan.stages:
        return _Signal(models=models, history=history, tokens=None)

    fat = learning.fresh(_ARCHITECTURES["fat"], name, "block")
    assert isinstance(fat, CrossModFAT)
    fat.encoder.fcn, fat.encoder.alstm = models["fcn"].fcn, models["alstm"].alstm
    settings = plan.stage("block", stage_seed(learning.seed, f"{name}.block"))
    tokens = [
        tuple(_resting_tokens(fat.encoder, part, signal, settings.device) for signal in signals)
        for part in ("fcn", "alstm")
    ]
    train, validation = learning.examples(*tokens)
    history["block"] = _train_block(
        fat.encoder.block,
        fat.fc4,
        train,
        validation,
        learning.weights,
        settings,
        f"{name}.block",
        learning.on_epoch,
    )
    models["fat"] = fat
    passed = None
    if fuses:
        block = _Passed(fat.encoder.block)
        passed = tuple(predict(block, block, part.inputs, device=settings.device) for part in (train, validation))
    return _Signal(models=models, history=history, tokens=passed)


def _train_fusion(learning: _Learning, stages: Mapping[str, _Signal]) -> tuple[PainModel, dict[str, FitResult]]:
    """Train the block that fuses two signals, on the tokens of both."""
    model = fresh_model(
        learning.recipe,
        CrossModTransformer.architecture,
        stage_seed(learning.seed, "fusion/weights"),
        inputs=tuple(stages),
        classes=learning.classes,
        **learning.plan.arguments,
    )
    assert isinstance(model, CrossModTransformer)
    for name, signal in stages.items():
        fat = signal.models["fat"]
        assert isinstance(fat, CrossModFAT)
        model.encoders[name] = fat.encoder
    history = {f"{name}.{stage}": result for name, s in stages.items() for stage, result in s.history.items()}
    tokens = [signal.tokens for signal in stages.values() if signal.tokens is not None]
    train, validation = learning.examples(*tokens)
    history["fusion"] = _train_block(
        model.block,
        model.fc4,
        train,
        validation,
        learning.weights,
        learning.plan.stage("fusion", stage_seed(learning.seed, "fusion")),
        "fusion",
        learning.on_epoch,
    )
    return model, history


class _Passed(nn.Module):
    """The tokens that a block passes on: FC1-3 at every time step, as in `SignalEncoder.forward`."""

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two sequences (B, S, width) -> (B, S, 128)."""
        return self.block.features(self.block(first, second)[0])


def _train_block(
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


def _resting_tokens(encoder: SignalEncoder, part: str, signal: Tensor, device: str = "cpu") -> Tensor:
    """Tokens (n, S, 128) of a part that rests: `fcn` or `alstm`."""
    body = getattr(encoder, part)
    return predict(body if part == "fcn" else (lambda x: body(x)[0]), body, (signal,), device=device)


def _augmentation(recipe: str, item: InputSpec, plan: Plan) -> SignalAugmentation:
    try:
        return SignalAugmentation((item,), plan.augmentation)
    except ValueError as error:
        raise refused(recipe, str(error)) from None
