"""PainAttnNet's encoder: attention whose queries, keys and values come from causal convolutions of their own."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks.multiscale import RowConv

KERNEL: Final = 7
HIDDEN: Final = 120
"""Width of the feed-forward layers, which run along time."""
LAYERS: Final = 2


class CausalConv(nn.Module):
    """Two causal convolutions with a residual, (B, C, T) -> the same ("TCN" in the public code).

    Convolution, BatchNorm, ReLU, cut; convolution, BatchNorm, cut; plus the input; ReLU. Both convolutions have
    kernel 7, a bias, and 6 zeros on both sides; the last 6 points, which have seen the future, are cut off.

    Quirk kept: BatchNorm comes before the cut, so that in training its statistics include those 6 points.

    Computed on images of one row, see `RowConv`.

    Args:
        channels: In and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = RowConv(channels, channels, KERNEL, padding=KERNEL - 1)
        self.conv2 = RowConv(channels, channels, KERNEL, padding=KERNEL - 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T); point t has seen points up to t."""
        points = x.shape[-1]
        y = torch.relu(self.bn1(self.conv1(x.unsqueeze(2))))[..., :points]
        y = self.bn2(self.conv2(y))[..., :points].squeeze(2)
        return torch.relu(y + x)

    def flops(self, points: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate, those that are cut off included."""
        return 2 * 2 * self.conv1.weight.numel() * (points + KERNEL - 1)


class JointProjection(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) in the layout of `nn.MultiheadAttention`, able to show its weights.

    Queries, keys and values differ here, but their projections lie in one tensor: rows [0, C) of `in_proj_weight`
    make queries, [C, 2C) keys, [2C, 3C) values. Written out, since torch's own fast path neither exports nor shows
    weights.

    Args:
        channels: Width C.
        heads: Divides C.
        dropout: On the weights.
    """

    def __init__(self, channels: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide a width of {channels}")
        self.channels = channels
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, with_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Let every step of the query look at all steps.

        Args:
            query: (B, C, T): channels first, as convolutions give them.
            key: (B, C, T).
            value: (B, C, T).
            with_weights: Give the weights too.

        Returns:
            (B, T, C): steps first; and the weights (B, T, T), mean over heads, rows = query, summing to 1, before
            dropout; None unless asked for.
        """
        q, k, v = (self._project(x, part) for part, x in enumerate((query, key, value)))
        width = self.channels // self.heads
        q = q.unflatten(1, (self.heads, width)).transpose(2, 3) / math.sqrt(width)
        weights = torch.softmax(q @ k.unflatten(1, (self.heads, width)), dim=-1)
        mixed = self.dropout(weights) @ v.unflatten(1, (self.heads, width)).transpose(2, 3)
        joined = mixed.transpose(1, 2).flatten(2)
        return self.out_proj(joined), weights.mean(dim=1) if with_weights else None

    def _project(self, x: Tensor, part: int) -> Tensor:
        rows = slice(part * self.channels, (part + 1) * self.channels)
        return functional.conv1d(x, self.in_proj_weight[rows].unsqueeze(-1), self.in_proj_bias[rows])

    def flops(self, points: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return 2 * points * self.channels * (4 * self.channels + 2 * points)


class CausalAttention(nn.Module):
    """Attention with keys and values from a `CausalConv` each."""

    def __init__(self, channels: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.tcn = nn.ModuleList(CausalConv(channels) for _ in range(2))
        self.multihead_attention = JointProjection(channels, heads=heads, dropout=dropout)

    def forward(self, query: Tensor, x: Tensor, *, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Queries (B, C, T) and the layer's input (B, C, T) -> (B, T, C) and weights; see `JointProjection`."""
        keys, values = (tcn(x) for tcn in self.tcn)
        return self.multihead_attention(query, keys, values, with_weights=with_weights)


class TimeMLP(nn.Module):
    """Linear(T -> 120), ReLU, dropout, Linear(120 -> T): along time, shared over channels."""

    def __init__(self, points: int, *, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Linear(points, HIDDEN)
        self.w_2 = nn.Linear(HIDDEN, points)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return self.w_2(self.dropout(torch.relu(self.w_1(x))))


class Sublayer(nn.Module):
    """A norm over channels and a dropout; of the first of a layer only the dropout is in use."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)


class CausalEncoderLayer(nn.Module):
    """One layer: y = q + dropout(attention), z = y + dropout(MLP(LayerNorm(y))), with q = CausalConv(x).

    Quirks kept: queries, keys and values are not normalised (upstream computes the first LayerNorm and throws its
    result away, which leaves `sublayer_output.0.norm` without effect: see `DEAD`); the residual of the attention is
    added to q, not to x; the MLP runs along time while its LayerNorm runs over channels.
    """

    def __init__(self, channels: int, points: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = CausalAttention(channels, heads=heads, dropout=dropout)
        self.feed_forward = TimeMLP(points, dropout=dropout)
        self.sublayer_output = nn.ModuleList(Sublayer(channels, dropout=dropout) for _ in range(2))
        self.conv = CausalConv(channels)

    def forward(self, x: Tensor, *, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, C, T) -> (B, C, T), and the weights (B, T, T), None unless asked for."""
        attending, feeding = self.sublayer_output
        query = self.conv(x)
        attended, weights = self.self_attn(query, x, with_weights=with_weights)
        y = query.transpose(1, 2) + attending.dropout(attended)
        normed = feeding.norm(y).transpose(1, 2)
        return y.transpose(1, 2) + feeding.dropout(self.feed_forward(normed)), weights

    def flops(self, points: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        attention = self.self_attn.multihead_attention
        mlp = 2 * 2 * attention.channels * points * HIDDEN
        return 3 * self.conv.flops(points) + attention.flops(points) + mlp


DEAD: Final = tuple(
    f"encoderWrapper.layers.{layer}.sublayer_output.0.norm.{entry}"
    for layer in range(LAYERS)
    for entry in ("weight", "bias")
)
"""Entries of a state_dict that exist upstream, are counted and loaded, and reach no output."""


class CausalEncoder(nn.Module):
    """Two `CausalEncoderLayer` and a LayerNorm over time (public code of PainAttnNet; "encoderWrapper" there).

    Args:
        channels: C of the input; every layer keeps (B, C, T).
        points: T, a constant of the weights.
        heads: Of the attention; 5 on 30 channels, 6 on 192.
        dropout: 0.1 upstream, on attention weights, in the MLP and on both residuals.
    """

    def __init__(self, channels: int, points: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CausalEncoderLayer(channels, points, heads=heads, dropout=dropout) for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(points)
        self.channels = channels
        self.points = points

    def forward(self, x: Tensor, *, with_weights: bool = False) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Encode a sequence.

        Args:
            x: (B, C, T).
            with_weights: Give the attention weights too.

        Returns:
            (B, C, T) normalised; the same before the last norm; and the weights of each layer, (B, T, T), empty
            unless asked for.
        """
        shown = []
        for layer in self.layers:
            x, weights = layer(x, with_weights=with_weights)
            if weights is not None:
                shown.append(weights)
        return self.norm(x), x, tuple(shown)

    def parity_probes(self, prefix: str) -> tuple[str, ...]:
        """What makes queries and keys of each layer, by their names in a model that has the encoder under `prefix`."""
        width = self.channels
        return tuple(
            f"{prefix}layers.{layer}.self_attn.multihead_attention.in_proj_weight[{rows}]"
            for layer in range(LAYERS)
            for rows in (f"0:{width}", f"{width}:{2 * width}")
        )

    def flops(self) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return sum(layer.flops(self.points) for layer in self.layers)
