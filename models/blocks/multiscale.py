"""Multi-scale convolutions along time: three branches that see tenths of a second to seconds at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks.linear import TokenLinear

CHANNELS: Final = 64
"""Channels of each branch before and after its middle."""
STEPS: Final = 75
"""Points that every branch is brought to."""
BRANCH_NAMES: Final = ("short", "medium", "long")


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """Kernel, stride and padding of a convolution or a pool."""

    kernel: int
    stride: int = 1
    padding: int = 0

    def length(self, points: int) -> int:
        """Points that are left of `points`."""
        return (points + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One scale: a wide first convolution, a pool, two convolutions with the same kernel, a pool."""

    conv1: Sliding
    pool1: Sliding
    inner: Sliding
    pool2: Sliding

    def lengths(self, points: int) -> tuple[int, int, int, int, int]:
        """Points after each of the five, in order."""
        found = []
        for sliding in (self.conv1, self.pool1, self.inner, self.inner, self.pool2):
            points = sliding.length(points)
            found.append(points)
        return tuple(found)  # type: ignore[return-value]


BRANCHES: Final = (
    Branch(
        conv1=Sliding(kernel=50, stride=6, padding=24),
        pool1=Sliding(kernel=8, stride=2, padding=4),
        inner=Sliding(kernel=8, padding=4),
        pool2=Sliding(kernel=4, stride=4, padding=2),
    ),
    Branch(
        conv1=Sliding(kernel=512, stride=42, padding=256),
        pool1=Sliding(kernel=4, stride=4),
        inner=Sliding(kernel=4, padding=3),
        pool2=Sliding(kernel=2, stride=2, padding=1),
    ),
    Branch(
        conv1=Sliding(kernel=1024, stride=84, padding=512),
        pool1=Sliding(kernel=8, stride=8),
        inner=Sliding(kernel=7, padding=3),
        pool2=Sliding(kernel=2, stride=2, padding=1),
    ),
)
"""Short, medium, long; at 512 Hz the first kernels span 0.1, 1 and 2 s."""


class RowConv(nn.Conv1d):
    """A convolution along time on images of one row, (B, C, 1, T), with the weights and the numbers of `nn.Conv1d`.

    ONNX Runtime has its faster kernels, which keep channels in blocks, for images alone: they take a fifth off the
    time of the models here.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 1, T) -> (B, outputs, 1, T')."""
        stride, padding = (1, *self.stride), (0, self.padding[0])
        return functional.conv2d(x, self.weight.unsqueeze(2), self.bias, stride=stride, padding=padding)


def _branch_layers(branch: Branch, *, dropout: float) -> nn.Sequential:
    def conv(inputs: int, outputs: int, s: Sliding) -> tuple[nn.Module, ...]:
        layer = RowConv(inputs, outputs, s.kernel, stride=s.stride, padding=s.padding, bias=False)
        return layer, nn.BatchNorm2d(outputs), nn.GELU()

    def pool(s: Sliding) -> nn.Module:
        return nn.MaxPool2d((1, s.kernel), stride=(1, s.stride), padding=(0, s.padding))

    return nn.Sequential(
        *conv(1, CHANNELS, branch.conv1),
        pool(branch.pool1),
        nn.Dropout(dropout),
        *conv(CHANNELS, 2 * CHANNELS, branch.inner),
        *conv(2 * CHANNELS, CHANNELS, branch.inner),
        pool(branch.pool2),
    )


class MSCN(nn.Module):
    """Multi-scale convolutional network of PainAttnNet (public code; the paper's text differs from it in places).

    Three parallel branches, 1 -> 64 -> 128 -> 64 channels. Every convolution is without bias and followed by
    BatchNorm and the exact (erf) GELU; kernel / stride / padding:

    | branch | conv 1   | pool 1  | conv 2 and 3 | pool 2  | points left of 2816 / 5632 / 8448 |
    |--------|----------|---------|--------------|---------|-----------------------------------|
    | short  | 50/6/24  | 8/2/4   | 8/1/4        | 4/4/2   | 60 / 119 / 177                    |
    | medium | 512/42/256 | 4/4/0 | 4/1/3        | 2/2/1   | 12 / 20 / 29                      |
    | long   | 1024/84/512 | 8/8/0 | 7/1/3       | 2/2/1   | 3 / 5 / 7                         |

    Then Linear(points -> 75) a branch, which acts on time and is shared over channels: from here on the 75 steps are
    mixtures of the whole window and may not be read as times. The branches are joined on channels. Dropout follows
    the first pool and the join.

    Reading: the kernels are durations at 512 Hz. For another number of points the linear layers are sized by the
    convolution formula; another rate would be another network.

    Args:
        samples: Points of the joined signals.
        dropout: 0.5 upstream.

    Raises:
        ValueError: If a branch would be left without a point.
    """

    OUTPUTS: Final = len(BRANCH_NAMES) * CHANNELS

    def __init__(self, samples: int, *, dropout: float) -> None:
        super().__init__()
        if min(min(branch.lengths(samples)) for branch in BRANCHES) < 1:
            raise ValueError(f"{samples} samples are too few for kernels of up to {BRANCHES[-1].conv1.kernel}")
        self.samples = samples
        # Names and order of the published weights.
        for name, branch in zip(BRANCH_NAMES, BRANCHES, strict=True):
            self.add_module(f"{name}_scale", _branch_layers(branch, dropout=dropout))
        for name, branch in zip(BRANCH_NAMES, BRANCHES, strict=True):
            self.add_module(f"fc_{name}", TokenLinear(branch.lengths(samples)[-1], STEPS))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, samples) -> (B, 192, 75)."""
        row = x.unsqueeze(2)
        parts = [
            self.get_submodule(f"fc_{name}")(self.get_submodule(f"{name}_scale")(row).squeeze(2))
            for name in BRANCH_NAMES
        ]
        return self.dropout(torch.cat(parts, dim=1))

    def flops(self) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        total = 0
        for branch in BRANCHES:
            conv1, _, conv2, conv3, left = branch.lengths(self.samples)
            inner = 2 * CHANNELS * CHANNELS * branch.inner.kernel
            total += CHANNELS * branch.conv1.kernel * conv1 + inner * (conv2 + conv3) + CHANNELS * left * STEPS
        return 2 * total


def init_published(module: nn.Module) -> None:
    """First weights of the public code, for `Module.apply`.

    Convolutions N(0, 0.02), the scale of BatchNorm N(1, 0.02) and its shift 0; all others as torch has them.
    """
    if isinstance(module, nn.Conv1d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
