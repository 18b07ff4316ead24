"""How a module is trained; Lightning runs the epochs underneath (`models.training.fitting`).

Lightning is imported when something is trained, since its import takes seconds. It writes no log, no checkpoint and no
bar; whoever wants to show how it goes gives `on_epoch`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.training.fit_settings import DEVICES, Augment, Examples, FitResult, FitSettings, OnEpoch
from monitor.errors import ConfigError, Problem

__all__ = [
    "Augment",
    "Examples",
    "FitResult",
    "FitSettings",
    "OnEpoch",
    "class_weights",
    "device_of",
    "fit",
    "predict",
]


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """(classes,) weights under which every class counts the same, so that logits stand on a balanced prior.

    Raises:
        ValueError: If a class has no example.
    """
    counts = torch.bincount(labels, minlength=classes).to(torch.float32)
    if (counts == 0).any():
        raise ValueError(f"a class has no example: {counts.int().tolist()}")
    return counts.sum() / (classes * counts)


def device_of(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:1` means on this machine.

    Raises:
        ConfigError: If there is no such device here.
    """
    if not DEVICES.fullmatch(name):
        problem = Problem("device", f"'{name}' is none", "auto, cpu, cuda or cuda:NUMBER")
        raise ConfigError(where="training", problems=[problem])
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(name.partition(":")[2] or 0)
    if number < count:
        return torch.device("cuda", number)
    if name == "auto":
        return torch.device("cpu")
    why = f"there are {count} GPUs" if count else "no GPU is found"
    if not torch.backends.cuda.is_built():
        why = "this torch was built without CUDA"
    problem = Problem("device", f"{name} cannot be had: {why}", 'write "auto" or "cpu"')
    raise ConfigError(where="training", problems=[problem])


def fit(
    forward: Callable[..., Tensor],
    module: nn.Module,
    *,
    train: Examples,
    validation: Examples,
    settings: FitSettings,
    weights: Tensor | None = None,
    augment: Augment | None = None,
    stage: str = "model",
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train a module in place.

    On the CPU the same seed, data and number of threads give the same weights, whatever else runs on the machine. A
    GPU adds in an order of its own, and its weights agree with the CPU's to rounding only.

    Args:
        forward: Takes the inputs of a batch, gives logits (B, classes); uses `module`'s parameters.
        module: What is trained; ends on the CPU, in evaluation mode, with the weights of the best epoch.
        train: Examples.
        validation: Examples of other subjects.
        settings: How.
        weights: (classes,) weight of each class in the loss; None for equal weights.
        augment: Changes the inputs of each training batch; labels stay.
        stage: Name for `on_epoch`.
        on_epoch: Is told how it goes.

    Raises:
        ConfigError: If the device cannot be had.
        ValueError: If the loss is not finite.
    """
    device = device_of(settings.device)
    started = time.process_time()
    from models.training.fitting import run

    torch.manual_seed(settings.seed)
    course = run(
        forward,
        module,
        train=train,
        validation=validation,
        settings=settings,
        weights=weights,
        augment=augment,
        device=device,
        stage=stage,
        on_epoch=on_epoch,
    )
    return FitResult(
        train_loss=tuple(course.train_loss),
        validation_loss=tuple(course.validation_loss),
        best_loss=course.best_loss,
        best_epoch=course.best_epoch,
        seconds=time.process_time() - started,
        limited=course.limited,
    )


def predict(
    forward: Callable[..., Tensor],
    module: nn.Module,
    inputs: Sequence[Tensor],
    batch: int = 128,
    *,
    device: str = "cpu",
) -> Tensor:
    """Run a module in evaluation mode over many examples: what `forward` gives, joined along the batch axis.

    Args:
        forward: Takes the inputs of a batch.
        module: What it uses; ends on the CPU.
        inputs: Each (n, ...), on the CPU.
        batch: Examples at a time.
        device: As `FitSettings.device`; what is given back is on the CPU.

    Raises:
        ConfigError: If the device cannot be had.
    """
    there = device_of(device)
    module.eval().to(there)
    with torch.inference_mode():
        parts = [forward(*(v[i : i + batch].to(there) for v in inputs)).cpu() for i in range(0, len(inputs[0]), batch)]
    module.cpu()
    # Tensors made in inference mode cannot be trained on; a copy can.
    return torch.cat(parts).clone()
