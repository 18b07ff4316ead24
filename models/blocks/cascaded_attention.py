"""Cascaded group attention in windows (EfficientViT; Liu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.blocks.conv_bn import ConvBN


class CascadedAttention(nn.Module):
    """Attention whose heads see one part of the channels each, and each the result of the head before.

    Head i reads its channels plus the output of head i - 1. Its queries, keys and values are one 1x1 convolution; its
    queries then pass a depthwise convolution of their own. Scores are scaled by `key_dim`^-0.5 and get a learned bias
    for each pair of |dy|, |dx|. All heads' outputs, ReLU, 1x1 convolution.

    The public code keeps the gathered biases in a cache that `eval()` fills, so that weights loaded after `eval()`
    leave the biases of the untrained model in use: the order of Tiny-BioMoE's README, by which its embeddings change
    by up to 0.24. Here they are gathered whenever they are used; an exported graph holds them gathered.

    Args:
        dim: Channels.
        heads: Number of heads; divides `dim`.
        key_dim: Width of queries and keys.
        kernels: Sides of the depthwise kernels, one a head.
        resolution: Positions along a side of the window.
    """

    attention_bias_idxs: Tensor

    def __init__(self, *, dim: int, heads: int, key_dim: int, kernels: Sequence[int], resolution: int) -> None:
        super().__init__()
        if dim % heads or len(kernels) != heads:
            raise ValueError(f"{dim} channels and {len(kernels)} kernels for {heads} heads")
        self.dim = dim
        self.heads = heads
        self.key_dim = key_dim
        self.value_dim = dim // heads
        self.resolution = resolution
        self._scale = key_dim**-0.5
        self.qkvs = nn.ModuleList(ConvBN(dim // heads, 2 * key_dim + self.value_dim) for _ in range(heads))
        self.dws = nn.ModuleList(ConvBN(key_dim, key_dim, kernel=kernel, groups=key_dim) for kernel in kernels)
        self.proj = nn.Sequential(nn.ReLU(), ConvBN(dim, dim, bn_weight=0.0))
        self.attention_biases = nn.Parameter(torch.zeros(heads, resolution**2))
        self.register_buffer("attention_bias_idxs", offsets(resolution))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, R, R) -> the same shape, R = `resolution`."""
        biases = self.attention_biases[:, self.attention_bias_idxs]
        sizes = (self.key_dim, self.key_dim, self.value_dim)
        outputs: list[Tensor] = []
        for head, part in enumerate(x.chunk(self.heads, dim=1)):
            seen = part + outputs[-1] if outputs else part
            queries, keys, values = self.qkvs[head](seen).split(sizes, dim=1)
            queries = self.dws[head](queries).flatten(2) * self._scale
            scores = queries.transpose(1, 2) @ keys.flatten(2) + biases[head]
            mixed = values.flatten(2) @ torch.softmax(scores, dim=-1).transpose(1, 2)
            outputs.append(mixed.unflatten(-1, (self.resolution, self.resolution)))
        return self.proj(torch.cat(outputs, dim=1))

    def flops(self) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        points = self.resolution**2
        heads = sum(layer.flops(points) for layer in (*self.qkvs, *self.dws))  # type: ignore[operator]
        products = 2 * points**2 * self.heads * (self.key_dim + self.value_dim)
        return heads + products + 2 * points * self.dim**2


class WindowAttention(nn.Module):
    """An attention within each of the windows that tile an image.

    Args:
        attn: Of one window.
        resolution: Positions along a side of the image, a multiple of the window's.
    """

    def __init__(self, attn: CascadedAttention, *, resolution: int) -> None:
        super().__init__()
        if resolution % attn.resolution:
            raise ValueError(f"windows of {attn.resolution} do not tile a side of {resolution}")
        self.attn = attn
        self.across = resolution // attn.resolution

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, H) -> the same shape."""
        if self.across == 1:
            return self.attn(x)
        n, side, channels = self.across, self.attn.resolution, self.attn.dim
        windows = x.reshape(-1, channels, n, side, n, side).permute(0, 2, 4, 1, 3, 5)
        mixed = self.attn(windows.reshape(-1, channels, side, side))
        tiles = mixed.reshape(-1, n, n, channels, side, side).permute(0, 3, 1, 4, 2, 5)
        return tiles.reshape(-1, channels, n * side, n * side)

    def flops(self, points: int) -> int:
        """Operations for one image of `points` positions, at 2 per multiply-accumulate."""
        return points // self.attn.resolution**2 * self.attn.flops()


def offsets(resolution: int) -> Tensor:
    """Which bias each pair of positions gets: (R * R, R * R) of |dy| * R + |dx|, rows and columns in raster order."""
    y, x = torch.arange(resolution**2).div(resolution, rounding_mode="floor"), torch.arange(resolution**2) % resolution
    return (y[:, None] - y).abs() * resolution + (x[:, None] - x).abs()
