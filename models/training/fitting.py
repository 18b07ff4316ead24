"""The Lightning side of `models.training.loop`: one module, one optimiser, epochs on the CPU or one GPU."""

from __future__ import annotations

import copy
import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric

from models.training.fit_settings import Augment, Examples, FitSettings, OnEpoch
from models.training.ordinal import cumulative_loss

_log = logging.getLogger("models.training.loop")
_AUGMENTED = 7919
"""Keeps the draws of augmentation apart from those of order and dropout."""


class Batches:
    """Batches of nearly one size; a last one of a single window joins the one before, for BatchNorm's sake.

    Lightning takes any iterable with a length. Everything lies in memory, so workers would only cost.

    Args:
        examples: What is cut up.
        size: Of a batch.
        order: Gives the order of an epoch, (n,); None for theirs.
    """

    def __init__(self, examples: Examples, size: int, order: Callable[[], Tensor] | None = None) -> None:
        self._examples = examples
        self._size = size
        self._order = order

    def __len__(self) -> int:
        count, rest = divmod(len(self._examples), self._size)
        return max(1, count + (rest > 1 if self._order is not None else rest > 0))

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        order = torch.arange(len(self._examples)) if self._order is None else self._order()
        rows = list(order.split(self._size))
        if self._order is not None and len(rows) > 1 and len(rows[-1]) == 1:
            rows[-2:] = [torch.cat(rows[-2:])]
        for some in rows:
            yield tuple(values[some] for values in self._examples.inputs), self._examples.labels[some]


class Fitting(LightningModule):
    """One training, and what came of its epochs.

    Args:
        forward: Takes the inputs of a batch, gives logits (B, classes).
        module: What is trained.
        validation_labels: (n,) of the validation examples, in their order.
        settings: How.
        weights: (classes,) of the loss, or None.
        augment: Of a training batch's inputs, or None.
        stage: Name for `on_epoch`.
        on_epoch: Is told how it goes, or None.
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        module: nn.Module,
        *,
        validation_labels: Tensor,
        settings: FitSettings,
        weights: Tensor | None,
        augment: Augment | None,
        stage: str,
        on_epoch: OnEpoch | None,
    ) -> None:
        super().__init__()
        self.module = module
        self.mean_loss = MeanMetric(nan_strategy="disable")
        self.train_loss: list[float] = []
        self.validation_loss: list[float] = []
        self.best_loss = float("inf")
        self.best_epoch = -1
        self.limited = False
        self.kept = copy.deepcopy(module.state_dict())
        self._call = forward
        self._settings = settings
        self._labels = validation_labels
        self._weights = weights
        self._augment = augment
        self._draws = torch.Generator().manual_seed(settings.seed + _AUGMENTED)
        self._stage = stage
        self._on_epoch = on_epoch
        self._told: list[Tensor] = []
        self._started = time.process_time()
        self._dropouts = [part for part in module.modules() if isinstance(part, nn.Dropout)]

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam or AdamW, and the learning rate by epoch."""
        settings = self._settings
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        learning = [p for p in self.module.parameters() if p.requires_grad]
        optimiser = kind(learning, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, settings.rate_share)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def on_train_epoch_start(self) -> None:
        """Everything that is not frozen learns; dropout follows the epoch."""
        self.module.train()
        self.mean_loss.reset()
        if self._settings.dropout is not None:
            for part in self._dropouts:
                part.p = self._settings.running(self._settings.dropout, self.current_epoch)

    def training_step(self, batch: tuple[tuple[Tensor, ...], Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        inputs, labels = batch
        if self._augment is not None:
            inputs = self._augment(inputs, self._draws)
        smoothing = self._settings.running(self._settings.label_smoothing, self.current_epoch)
        loss = self._loss(self._logits(inputs), labels, smoothing)
        self.mean_loss.update(loss.detach(), weight=len(labels))
        return loss

    def validation_step(self, batch: tuple[tuple[Tensor, ...], Tensor], _: int) -> None:
        """Logits of a batch, for the loss over all of them."""
        self._told.append(self._logits(batch[0]))

    def on_train_epoch_end(self) -> None:
        """Losses, the best weights so far, and whether to go on. Validation has been run by now."""
        settings, epoch = self._settings, self.current_epoch
        told = torch.cat(self._told)
        self._told.clear()
        self.train_loss.append(float(self.mean_loss.compute()))
        self.validation_loss.append(float(self._loss(told, self._labels.to(told.device), 0.0)))
        if not (self.train_loss[-1] < float("inf") and self.validation_loss[-1] < float("inf")):
            raise ValueError(f"the loss of epoch {epoch} is not finite")
        if self.validation_loss[-1] < self.best_loss:
            self.best_loss, self.best_epoch = self.validation_loss[-1], epoch
            self.kept = copy.deepcopy(self.module.state_dict())
        spent = time.process_time() - self._started
        _log.info(
            "  epoch %d: loss %.4f, validation %.4f, %.0f s",
            epoch,
            self.train_loss[-1],
            self.validation_loss[-1],
            spent,
        )
        if self._on_epoch is not None:
            self._on_epoch(self._stage, epoch + 1, settings.epochs, self.train_loss[-1], self.validation_loss[-1])
        if epoch - self.best_epoch >= settings.patience:
            self.trainer.should_stop = True
        elif settings.limit_s is not None and spent > settings.limit_s and epoch + 1 < settings.epochs:
            _log.warning("  stopped by the time limit of %.0f s", settings.limit_s)
            self.limited = True
            self.trainer.should_stop = True

    def _logits(self, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._settings.bfloat16):
            return self._call(*inputs).float()

    def _loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        weights = None if self._weights is None else self._weights.to(logits.device)
        if self._settings.ordinal:
            return cumulative_loss(logits, labels, weights=weights, smoothing=smoothing)
        return functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)


def run(
    forward: Callable[..., Tensor],
    module: nn.Module,
    *,
    train: Examples,
    validation: Examples,
    settings: FitSettings,
    weights: Tensor | None,
    augment: Augment | None,
    device: torch.device,
    stage: str,
    on_epoch: OnEpoch | None,
) -> Fitting:
    """See `models.training.loop.fit`; gives the course of the training, the module holds the best weights."""
    fitting = Fitting(
        forward,
        module,
        validation_labels=validation.labels,
        settings=settings,
        weights=weights,
        augment=augment,
        stage=stage,
        on_epoch=on_epoch,
    )
    dropouts = [(part, part.p) for part in module.modules() if isinstance(part, nn.Dropout)]

    def order() -> Tensor:
        # By epoch, not from one stream of draws: however often Lightning asks, an epoch has one order.
        draws = torch.Generator().manual_seed(settings.seed * 1_000_003 + fitting.current_epoch)
        return torch.randperm(len(train), generator=draws)

    with _quiet(), _interruptible():
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1 if device.index is None else [device.index],
            max_epochs=settings.epochs,
            gradient_clip_val=settings.gradient_norm,
            benchmark=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        trainer.fit(fitting, Batches(train, settings.batch, order), Batches(validation, settings.judged_batch))
    module.cpu()
    module.load_state_dict(fitting.kept)
    module.eval()
    for part, share in dropouts:
        part.p = share
    return fitting


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's notices of devices and its advertisements away; warnings of ours and of torch pass."""
    noisy = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = noisy.level
    noisy.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning asks torch's trees by a name that torch has given up.
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            # What is frozen is meant to be; the rest is set to training at the start of each epoch.
            warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
            # "auto" decides above; whoever writes "cpu" means it.
            warnings.filterwarnings("ignore", message="GPU available but not used")
            yield
    finally:
        noisy.setLevel(before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays what it was: Lightning makes it the end of the program and leaves the signal ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
