"""EfficientViT (Liu et al., CVPR 2023) as Tiny-BioMoE uses it: convolutions, and attention in small windows.

Names of weights are those of the public code, so that published checkpoints load strictly. Every convolution but those
of the gates has a BatchNorm instead of a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks.cascaded_attention import CascadedAttention, WindowAttention
from models.blocks.conv_bn import ConvBN

PATCH: Final = 16
"""Pixels along a side that one token of the first stage stands for."""


class Residual(nn.Module):
    """x + m(x)."""

    def __init__(self, m: nn.Module) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.m(x)


class FeedForward(nn.Module):
    """1x1 convolution to twice the channels, ReLU, and back; the last BatchNorm starts at 0.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pw1 = ConvBN(dim, 2 * dim)
        self.pw2 = ConvBN(2 * dim, dim, bn_weight=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return self.pw2(torch.relu(self.pw1(x)))

    def flops(self, points: int) -> int:
        """Operations for one image of `points` positions, at 2 per multiply-accumulate."""
        return self.pw1.flops(points) + self.pw2.flops(points)


def _depthwise(dim: int) -> ConvBN:
    return ConvBN(dim, dim, kernel=3, groups=dim, bn_weight=0.0)


class Block(nn.Module):
    """EfficientViT's sandwich: depthwise 3x3 and feed-forward before and after one attention, all residual.

    Args:
        dim: Channels.
        resolution: Positions along a side.
        heads: Heads of the attention.
        key_dim: Width of queries and keys.
        kernels: Of the depthwise convolution of each head's queries.
        window: Greatest side of a window of attention.
    """

    def __init__(
        self, *, dim: int, resolution: int, heads: int, key_dim: int, kernels: Sequence[int], window: int
    ) -> None:
        super().__init__()
        attention = CascadedAttention(
            dim=dim, heads=heads, key_dim=key_dim, kernels=kernels, resolution=min(window, resolution)
        )
        self.dw0 = Residual(_depthwise(dim))
        self.ffn0 = Residual(FeedForward(dim))
        self.mixer = Residual(WindowAttention(attention, resolution=resolution))
        self.dw1 = Residual(_depthwise(dim))
        self.ffn1 = Residual(FeedForward(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, H) -> the same shape."""
        return self.ffn1(self.dw1(self.mixer(self.ffn0(self.dw0(x)))))


class SqueezeExcite(nn.Module):
    """A gate for each channel from the channels' means: 1x1 convolutions with bias, ReLU, sigmoid.

    Args:
        dim: Channels.
        reduced: Units between.
    """

    def __init__(self, dim: int, reduced: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        mean = functional.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))

    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate."""
        return 2 * 2 * self.fc1.in_channels * self.fc1.out_channels


class PatchMerging(nn.Module):
    """Half the resolution: 1x1 to four times the channels, depthwise 3x3 of stride 2, gates, 1x1 to the new channels.

    Args:
        inputs: Channels in.
        outputs: Channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.conv1 = ConvBN(inputs, wide)
        self.conv2 = ConvBN(wide, wide, kernel=3, stride=2, groups=wide)
        self.se = SqueezeExcite(wide, wide // 4)
        self.conv3 = ConvBN(wide, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, H) -> (B, outputs, ceil(H / 2), ceil(H / 2))."""
        return self.conv3(self.se(torch.relu(self.conv2(torch.relu(self.conv1(x))))))

    def flops(self, resolution: int) -> int:
        """Operations for one image of `resolution` positions along a side, at 2 per multiply-accumulate."""
        left = ((resolution + 1) // 2) ** 2
        return self.conv1.flops(resolution**2) + self.conv2.flops(left) + self.se.flops() + self.conv3.flops(left)


def _between(dim: int) -> nn.Sequential:
    return nn.Sequential(Residual(_depthwise(dim)), Residual(FeedForward(dim)))


class EfficientViT(nn.Module):
    """Encoder-2 of Tiny-BioMoE: an image to one vector.

    Four 3x3 convolutions of stride 2 (14 x 14 positions of 224 x 224 pixels), then three stages of one `Block` each,
    halved between by `PatchMerging` with a depthwise 3x3 and a feed-forward on either side; mean over positions. No
    layer ever saw where an image's edges are but by the padding of convolutions.

    Args:
        dims: Channels of the three stages; the last is the width of the embedding.
        heads: Of each stage.
        key_dim: Width of queries and keys, in every stage.
        window: Greatest side of a window of attention; 14 x 14 positions are four windows of 7 x 7.
        kernels: Of the queries' depthwise convolutions, by head.
        size: Pixels along a side.
    """

    def __init__(
        self,
        *,
        dims: tuple[int, int, int] = (192, 288, 96),
        heads: tuple[int, int, int] = (3, 3, 4),
        key_dim: int = 16,
        window: int = 7,
        kernels: Sequence[int] = (7, 5, 3, 3),
        size: int = 224,
    ) -> None:
        super().__init__()
        first, second, third = dims
        self.size = size
        self.embedding = third
        self.patch_embed = nn.Sequential(
            ConvBN(3, first // 8, kernel=3, stride=2),
            nn.ReLU(),
            ConvBN(first // 8, first // 4, kernel=3, stride=2),
            nn.ReLU(),
            ConvBN(first // 4, first // 2, kernel=3, stride=2),
            nn.ReLU(),
            ConvBN(first // 2, first, kernel=3, stride=2),
        )
        sides = [size // PATCH]
        for _ in range(2):
            sides.append((sides[-1] + 1) // 2)
        self.resolutions = tuple(sides)
        blocks = [
            Block(dim=d, resolution=side, heads=h, key_dim=key_dim, kernels=kernels[:h], window=window)
            for d, side, h in zip(dims, self.resolutions, heads, strict=True)
        ]
        self.blocks1 = nn.Sequential(blocks[0])
        self.blocks2 = nn.Sequential(_between(first), PatchMerging(first, second), _between(second), blocks[1])
        self.blocks3 = nn.Sequential(_between(second), PatchMerging(second, third), _between(third), blocks[2])

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, 96)."""
        x = self.blocks3(self.blocks2(self.blocks1(self.patch_embed(images))))
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)

    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate; BatchNorm is not counted."""
        total, side = 0, self.size
        for layer in self.patch_embed:
            if isinstance(layer, ConvBN):
                side //= 2
                total += layer.flops(side**2)
        for stage in (self.blocks1, self.blocks2, self.blocks3):
            total_of_stage, side = _stage_flops(stage, side)
            total += total_of_stage
        return total

    def parity_probes(self) -> tuple[str, ...]:
        """Each head's queries, keys and values, their tables of biases, and the gates between stages."""
        ends = ("attention_biases", "se.fc1.weight", "se.fc2.weight")
        return tuple(
            name
            for name in self.state_dict()
            if name.endswith(ends) or (".qkvs." in name and name.endswith(".c.weight"))
        )


def _stage_flops(stage: nn.Module, side: int) -> tuple[int, int]:
    """Operations of a stage on `side` x `side` positions, and the side that it leaves."""
    total = 0
    for layer in stage.children():
        if isinstance(layer, PatchMerging):
            total += layer.flops(side)
            side = (side + 1) // 2
            continue
        for part in layer.children():
            inner = cast("Residual", part).m
            assert isinstance(inner, ConvBN | FeedForward | WindowAttention)
            total += inner.flops(side**2)
    return total, side
