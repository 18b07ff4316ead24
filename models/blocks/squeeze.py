"""Squeeze-and-excitation: gates on channels from their own means."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018) on (B, channels, T): mean over time, two layers, a gate a channel.

    No layer has a bias, so that where all hidden units are off every gate is exactly sigmoid(0) = 0.5: the block is
    then inactive and scales all channels alike.

    Args:
        channels: Number of channels.
        reduction: The hidden layer has `channels // reduction` units.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        if hidden < 1:
            raise ValueError(f"a reduction of {reduction} leaves nothing of {channels} channels")
        self.channels = channels
        self.hidden = hidden
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, channels, T) -> the same, scaled, and the gates (B, channels) in 0..1."""
        gates = self.fc(x.mean(dim=-1))
        return x * gates.unsqueeze(-1), gates

    def flops(self) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return 2 * 2 * self.channels * self.hidden


class SEResBlock(nn.Module):
    """Residual block with squeeze-and-excitation, as in the public code of PainAttnNet.

    Convolution, BatchNorm, ReLU, convolution, BatchNorm, gates; plus the input through a projection of its own
    (convolution without bias, BatchNorm); ReLU.

    Quirk kept: both convolutions have kernel 1 (upstream writes `Conv1d(in, out, stride)`, and the stride lands in
    `kernel_size`), so the block mixes channels and never looks at neighbours in time.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        reduction: Of the gates' hidden layer.
    """

    def __init__(self, inputs: int, outputs: int, *, reduction: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, 1)
        self.bn1 = nn.BatchNorm1d(outputs)
        self.conv2 = nn.Conv1d(outputs, outputs, 1)
        self.bn2 = nn.BatchNorm1d(outputs)
        self.se = SqueezeExcitation(outputs, reduction=reduction)
        self.downsample = nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs))
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, T) -> (B, outputs, T), and the gates (B, outputs)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y, gates = self.se(self.bn2(self.conv2(y)))
        return torch.relu(y + self.downsample(x)), gates

    def flops(self, length: int) -> int:
        """Operations for one example of `length` points, at 2 per multiply-accumulate."""
        return 2 * length * self.outputs * (2 * self.inputs + self.outputs) + self.se.flops()


class SEResNet(nn.Module):
    """One `SEResBlock`; upstream's ResNet of a single layer with a single block, hence the name of its weights."""

    def __init__(self, inputs: int, outputs: int, *, reduction: int = 16) -> None:
        super().__init__()
        self.layer = nn.Sequential(SEResBlock(inputs, outputs, reduction=reduction))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, T) -> (B, outputs, T), and the gates (B, outputs)."""
        return self.layer(x)

    def flops(self, length: int) -> int:
        """Operations for one example of `length` points, at 2 per multiply-accumulate."""
        return self.layer[0].flops(length)
