"""Weights at unit scale that anyone can rebuild from their names with numpy alone.

Freshly initialised weights make attention so flat that a graph without it gives nearly the same numbers; these do
not. The golden reference vectors use the same rule.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.base import PainModel
from models.blocks.squeeze import SqueezeExcitation


def fill(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The value of one floating-point entry of a state_dict.

    Args:
        key: Full name of the entry; it seeds the generator.
        shape: Shape of the entry.

    Returns:
        The entry, computed in float64 and rounded once.

    Raises:
        ValueError: If no rule covers the entry.
    """
    seed = zlib.crc32(key.encode())
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    last = key.rpartition(".")[2]
    if last in ("running_mean", "moving_mean"):
        value = 0.1 * normal
    elif last in ("running_var", "moving_variance"):
        value = 1.0 + 0.1 * np.abs(normal)
    elif last == "gamma" or (last == "weight" and (len(shape) == 1 or key.endswith("ln_img.weight"))):
        value = 1.0 + 0.05 * normal  # of a norm
    elif last.endswith("bias") or last.startswith("bias_") or last == "beta":
        value = 0.05 * normal
    elif last == "kernel":  # Keras' layout, outputs last
        value = normal / math.sqrt(math.prod(shape[:-1]))
    elif last == "latents":  # of a Perceiver, as large as they begin: smaller ones all ask the same
        value = normal
    elif last == "complex_weight":
        value = normal / math.sqrt(2.0)
    elif last == "attention_biases":
        value = 0.5 * normal
    elif last == "weights":  # of late fusion
        value = 1.0 + 0.25 * normal
    elif len(shape) >= 2:
        value = normal / math.sqrt(math.prod(shape[1:]))
    else:
        raise ValueError(f"no rule for {key} of shape {shape}")
    return value.astype(np.float32)


def fill_model(model: nn.Module) -> None:
    """Replace every weight and running statistic of a model, in place."""
    with torch.no_grad():
        for key, entry in model.state_dict().items():
            if entry.is_floating_point():
                entry.copy_(torch.from_numpy(fill(key, tuple(entry.shape))))
            elif not key.endswith("attention_bias_idxs"):  # a table that the constructor works out
                entry.zero_()


def wake_gates(model: PainModel, inputs: Mapping[str, Tensor]) -> None:
    """Make every squeeze-and-excitation block of a filled model depend on its input, in place.

    Where all hidden units of a block are off, every gate is 0.5 and a graph without gates gives the same numbers. With
    the single unit of PainAttnNet that is every other block; there the sign of its weights is turned.

    Args:
        model: With filled weights, in any mode; left in that mode.
        inputs: Of `forward`, those that the check runs on.
    """

    def wake(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        squeeze = cast("SqueezeExcitation", block).fc[0]
        if not (squeeze(arguments[0].mean(dim=-1)) > 0).any():
            squeeze.weight.neg_()

    blocks = [module for module in model.modules() if isinstance(module, SqueezeExcitation)]
    handles = [block.register_forward_pre_hook(wake) for block in blocks]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
