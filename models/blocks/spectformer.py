"""SpectFormer: stages of spectral filters, then stages of attention, and one class token at the end.

The family of PainFormer and of Tiny-BioMoE's first encoder, with the names of weights of their public code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks.backbone import IMAGE_SIZE
from models.blocks.linear import TokenLinear
from models.blocks.spectral import SpectralGate

STAGES: Final = 4
_EPS_EMBED: Final = 1e-5
_EPS: Final = 1e-6


class Encoding(NamedTuple):
    """What a SpectFormer makes of images; the embedding, the tokens and the maps are what the public code returns."""

    embedding: Tensor
    """(B, dims[3])."""
    tokens: Tensor
    """(B, 49, dims[3]) after stage 4, before the class block."""
    maps: list[Tensor]
    """Attention of every block of the attention stages, (B, heads, N, N), rows = query; empty unless asked for."""
    class_map: Tensor | None
    """(B, heads, 1, 1 + 49): the class token looking at itself and at the tokens; None unless asked for."""


class DropPath(nn.Module):
    """In training, leaves a residual branch out for some examples and scales it up for the others.

    Args:
        rate: Share of the examples for which it is left out.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> the same shape."""
        if not self.training:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * kept / (1.0 - self.rate)


class PatchEmbed(nn.Module):
    """Halves the image: 3x3 convolution of stride 2 and LayerNorm over channels (eps 1e-5).

    Args:
        inputs: Channels of the image.
        outputs: Channels of the tokens.
        stem: Channels of the stem, 7x7 of stride 2 and two 3x3, each with BatchNorm and ReLU, which comes first and
            halves the image too; no stem where None.
    """

    def __init__(self, inputs: int, outputs: int, *, stem: int | None = None) -> None:
        super().__init__()
        if stem is not None:
            self.conv = nn.Sequential(
                nn.Conv2d(inputs, stem, 7, stride=2, padding=3, bias=False),
                nn.BatchNorm2d(stem),
                nn.ReLU(),
                nn.Conv2d(stem, stem, 3, padding=1, bias=False),
                nn.BatchNorm2d(stem),
                nn.ReLU(),
                nn.Conv2d(stem, stem, 3, padding=1, bias=False),
                nn.BatchNorm2d(stem),
                nn.ReLU(),
            )
        self.proj = nn.Conv2d(stem or inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(outputs, eps=_EPS_EMBED)
        self._has_stem = stem is not None

    def forward(self, image: Tensor) -> Tensor:
        """(B, inputs, H, W) -> tokens (B, N, outputs), row by row."""
        if self._has_stem:
            image = self.conv(image)
        return self.norm(self.proj(image).flatten(2).transpose(1, 2))

    def flops(self, side: int) -> int:
        """Operations for one image that becomes `side` rows of tokens, at 2 per multiply-accumulate."""
        stem = sum(layer.weight.numel() for layer in self.modules() if isinstance(layer, nn.Conv2d))
        stem -= self.proj.weight.numel()
        # The stem works at twice the side.
        return 2 * side * side * (4 * stem + self.proj.weight.numel())


class Attention(nn.Module):
    """Softmax attention among tokens; query, joint key and value, output, all with bias.

    Args:
        dim: Width of the tokens.
        heads: Number of heads; divides `dim`.
    """

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dim}")
        self.q = TokenLinear(dim, dim)
        self.kv = TokenLinear(dim, 2 * dim)
        self.proj = TokenLinear(dim, dim)
        self.heads = heads
        self._scale = 1.0 / math.sqrt(dim // heads)

    def forward(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Let each query look at the memory.

        Args:
            queries: (B, T, dim).
            memory: (B, S, dim); the queries themselves, or what contains them.

        Returns:
            (B, T, dim), and the weights (B, heads, T, S), rows summing to 1.
        """
        keys, values = self.kv(memory).chunk(2, dim=-1)
        q = self._split(self.q(queries) * self._scale).transpose(1, 2)
        k = self._split(keys).permute(0, 2, 3, 1)
        v = self._split(values).transpose(1, 2)
        weights = torch.softmax(q @ k, dim=-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2)), weights

    def flops(self, queries: int, keys: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        width = self.q.in_features
        return 2 * (2 * (queries + keys) * width * width + 2 * queries * keys * width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))


class Depthwise(nn.Module):
    """3x3 convolution of every channel for itself, with bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, dim, H, W) -> the same shape."""
        return self.dwconv(image)


class ConvMLP(nn.Module):
    """Linear, depthwise 3x3 over the image of tokens, GELU (erf), Linear.

    The linear layers are computed as 1x1 convolutions: ONNX Runtime then keeps the wide tokens in its own layout of
    images from the first layer to the last and reorders only the narrow ones, which saves a tenth of PainFormer's
    time. In torch both take the same.

    Args:
        dim: Width of the tokens.
        ratio: How much wider it is inside.
        side: Rows and columns of the image of tokens.
    """

    def __init__(self, *, dim: int, ratio: int, side: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.dwconv = Depthwise(ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)
        self.side = side

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, side * side, dim) -> the same shape."""
        image = tokens.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        image = functional.gelu(self.dwconv(_pointwise(self.fc1, image)))
        return _pointwise(self.fc2, image).permute(0, 2, 3, 1).flatten(1, 2)

    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate."""
        weights = (self.fc1.weight, self.dwconv.dwconv.weight, self.fc2.weight)
        return 2 * self.side * self.side * sum(weight.numel() for weight in weights)


def _pointwise(layer: nn.Linear, image: Tensor) -> Tensor:
    return functional.conv2d(image, layer.weight[:, :, None, None], layer.bias)


class Block(nn.Module):
    """x += mix(norm1(x)); x += MLP(norm2(x)); the mix is a spectral gate or attention."""

    def __init__(self, *, dim: int, heads: int, ratio: int, side: int, spectral: bool, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.attn: SpectralGate | Attention
        self.attn = SpectralGate(dim=dim, height=side, width=side) if spectral else Attention(dim=dim, heads=heads)
        self.mlp = ConvMLP(dim=dim, ratio=ratio, side=side)
        self.drop_path = DropPath(drop_path) if drop_path > 0.0 else nn.Identity()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, N, dim) -> (B, N, dim), and the attention (B, heads, N, N); None of a spectral gate."""
        normed = self.norm1(tokens)
        if isinstance(self.attn, SpectralGate):
            mixed, weights = self.attn(normed), None
        else:
            mixed, weights = self.attn(normed, normed)
        tokens = tokens + self.drop_path(mixed)
        return tokens + self.drop_path(self.mlp(self.norm2(tokens))), weights

    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate; none of a spectral gate (see `SpectFormer`)."""
        tokens = self.mlp.side**2
        return self.mlp.flops() + (self.attn.flops(tokens, tokens) if isinstance(self.attn, Attention) else 0)


class ClassMLP(nn.Module):
    """Linear, GELU (erf), Linear."""

    def __init__(self, *, dim: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = TokenLinear(dim, ratio * dim)
        self.fc2 = TokenLinear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) -> the same shape."""
        return self.fc2(functional.gelu(self.fc1(x)))


class ClassBlock(nn.Module):
    """The class token attends to itself and to all tokens, then passes an MLP of its own.

    Args:
        dim: Width of the tokens.
        heads: Of the attention.
        ratio: Of the MLP.
    """

    def __init__(self, *, dim: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = Attention(dim=dim, heads=heads)
        self.mlp = ClassMLP(dim=dim, ratio=ratio)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[class token, tokens] (B, 1 + N, dim) -> class token (B, 1, dim), and its attention (B, heads, 1, 1 + N)."""
        normed = self.norm1(tokens)
        mixed, weights = self.attn(normed[:, :1], normed)
        cls = tokens[:, :1] + mixed
        return cls + self.mlp(self.norm2(cls)), weights

    def flops(self, tokens: int) -> int:
        """Operations for one image of so many tokens, at 2 per multiply-accumulate."""
        return self.attn.flops(1, 1 + tokens) + 2 * (self.mlp.fc1.weight.numel() + self.mlp.fc2.weight.numel())


class SpectFormer(nn.Module):
    """Four stages of blocks on images of 56, 28, 14 and 7 tokens a side.

    Every stage starts with a `PatchEmbed`; stages 1-3 end with a LayerNorm (eps 1e-6). The mean of the last tokens is
    the class token, which the class block lets look at them; LayerNorm of it is the embedding. The public code's
    classifier is left out.

    Args:
        stem: Channels of the stem.
        dims: Width of the tokens of each stage; the last is that of the embedding.
        depths: Blocks of each stage.
        heads: Heads of each stage; only those of attention count.
        mlp_ratios: How much wider the MLPs of each stage are inside.
        spectral: The first so many stages have spectral gates, the others attention.
        class_heads: Heads of the class block.
        drop_path: Rate of the last block of stage 4; the rates rise evenly from 0 at the first block. At 0 nothing is
            dropped.
    """

    CLASS_RATIO: Final = 4

    def __init__(
        self,
        *,
        stem: int,
        dims: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        mlp_ratios: Sequence[int],
        spectral: int = 2,
        class_heads: int = 16,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not len(dims) == len(depths) == len(heads) == len(mlp_ratios) == STAGES:
            raise ValueError(f"a SpectFormer has {STAGES} stages, each with a width, a depth, heads and an MLP ratio")
        self.sides = tuple(IMAGE_SIZE // 4 // 2**stage for stage in range(STAGES))
        rates = iter(torch.linspace(0.0, drop_path, sum(depths)).tolist())
        for i, side in enumerate(self.sides):
            blocks = nn.ModuleList(
                Block(
                    dim=dims[i],
                    heads=heads[i],
                    ratio=mlp_ratios[i],
                    side=side,
                    spectral=i < spectral,
                    drop_path=next(rates),
                )
                for _ in range(depths[i])
            )
            embed = PatchEmbed(dims[i - 1], dims[i]) if i else PatchEmbed(3, dims[0], stem=stem)
            self.add_module(f"patch_embed{i + 1}", embed)
            self.add_module(f"block{i + 1}", blocks)
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dims[i], eps=_EPS))
        self.post_network = nn.ModuleList([ClassBlock(dim=dims[-1], heads=class_heads, ratio=self.CLASS_RATIO)])
        self.apply(_initialise)

    def forward(self, images: Tensor, *, with_maps: bool = False) -> Encoding:
        """Encode images.

        Args:
            images: (B, 3, 224, 224); no other size, for the spectral weights are of one size.
            with_maps: Give the attention maps too.
        """
        image, tokens = images, images
        maps: list[Tensor] = []
        for i, side in enumerate(self.sides, start=1):
            tokens = self.get_submodule(f"patch_embed{i}")(image)
            for block in self.get_submodule(f"block{i}").children():
                tokens, weights = block(tokens)
                if with_maps and weights is not None:
                    maps.append(weights)
            if i < STAGES:
                tokens = self.get_submodule(f"norm{i}")(tokens)
                image = tokens.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        cls, class_map = self.post_network[0](torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1))
        embedding = self.get_submodule(f"norm{STAGES}")(cls.flatten(1))
        return Encoding(embedding, tokens, maps, class_map if with_maps else None)

    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate.

        The Fourier transforms of the spectral gates are not counted, as in the papers; as the products of an exported
        graph each costs 4 (W' C) H (W + 2 H) more, where W' = W / 2 + 1.
        """
        total = self.post_network[0].flops(self.sides[-1] ** 2)
        for i, side in enumerate(self.sides, start=1):
            total += self.get_submodule(f"patch_embed{i}").flops(side)
            total += sum(block.flops() for block in self.get_submodule(f"block{i}").children())
        return total

    def parity_probes(self) -> tuple[str, ...]:
        """Every spectral filter, and every weight of queries and of keys and values."""
        ends = ("complex_weight", "attn.q.weight", "attn.kv.weight")
        return tuple(name for name in self.state_dict() if name.endswith(ends))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
