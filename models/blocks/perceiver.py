"""Perceiver: a small array of learned latents reads a long list of tokens (Jaegle et al., 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks.linear import TokenLinear


def fourier_positions(length: int, *, bands: int, max_frequency: float) -> Tensor:
    """Fourier features of the places 0..length-1, as in Perceiver: (length, 2 * bands + 1), within -1..1.

    Places lie evenly in -1..1; columns are sin(pi f x) and cos(pi f x) for `bands` frequencies f evenly spaced from 1
    to `max_frequency / 2`, and x itself.
    """
    places = torch.linspace(-1.0, 1.0, length, dtype=torch.float64).unsqueeze(-1)
    phases = math.pi * places * torch.linspace(1.0, max_frequency / 2, bands, dtype=torch.float64)
    return torch.cat([phases.sin(), phases.cos(), places], dim=-1).float()


class GEGLU(nn.Module):
    """Gated feed-forward (Shazeer, 2020): Linear to twice the hidden width, a * gelu(b) of its halves, Linear back.

    Args:
        width: Of the tokens.
        factor: Hidden width over width.
    """

    def __init__(self, width: int, *, factor: int) -> None:
        super().__init__()
        self.width = width
        self.hidden = width * factor
        self.expand = TokenLinear(width, 2 * self.hidden)
        self.contract = TokenLinear(self.hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        value, gate = self.expand(x).chunk(2, dim=-1)
        return self.contract(value * functional.gelu(gate))

    def flops(self, tokens: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return 2 * tokens * 3 * self.width * self.hidden


class AsymmetricAttention(nn.Module):
    """Attention whose queries and memory differ in width; projections without bias but for the last.

    Args:
        width: Of queries and output.
        memory_width: Of keys and values.
        heads: Number of heads.
        head_width: Width of each.
    """

    def __init__(self, width: int, memory_width: int, *, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.width = width
        self.memory_width = memory_width
        self.heads = heads
        self.inner = inner
        self.query = TokenLinear(width, inner, bias=False)
        self.key = TokenLinear(memory_width, inner, bias=False)
        self.value = TokenLinear(memory_width, inner, bias=False)
        self.out = TokenLinear(inner, width)
        self._scale = 1.0 / math.sqrt(head_width)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Let each query look at the memory.

        Args:
            queries: (B, N, width), or (1, N, width) where all examples ask the same.
            memory: (B, S, memory_width).

        Returns:
            (B, N, width).
        """
        q = self._split(self.query(queries) * self._scale).transpose(1, 2)
        k = self._split(self.key(memory)).permute(0, 2, 3, 1)
        v = self._split(self.value(memory)).transpose(1, 2)
        mixed = torch.softmax(q @ k, dim=-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.inner // self.heads))

    def flops(self, queries: int, keys: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate, both products of the attention included."""
        projections = 2 * self.inner * (queries * self.width + keys * self.memory_width)
        return 2 * (projections + 2 * queries * keys * self.inner)


class CrossBlock(nn.Module):
    """Latents read the tokens, then a feed-forward; both pre-norm and residual."""

    def __init__(self, width: int, memory_width: int, *, head_width: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(memory_width)
        self.attention = AsymmetricAttention(width, memory_width, heads=1, head_width=head_width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = GEGLU(width, factor=factor)

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """Latents (B or 1, N, width), tokens (B, S, memory width) -> (B, N, width)."""
        latents = latents + self.attention(self.norm(latents), self.memory_norm(tokens))
        return latents + self.feed(self.feed_norm(latents))

    def flops(self, latents: int, tokens: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return self.attention.flops(latents, tokens) + self.feed.flops(latents)


class SelfBlock(nn.Module):
    """Latents look at each other, then a feed-forward; both pre-norm and residual."""

    def __init__(self, width: int, *, heads: int, head_width: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = AsymmetricAttention(width, width, heads=heads, head_width=head_width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = GEGLU(width, factor=factor)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        normed = self.norm(latents)
        latents = latents + self.attention(normed, normed)
        return latents + self.feed(self.feed_norm(latents))

    def flops(self, latents: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return self.attention.flops(latents, latents) + self.feed.flops(latents)


class Perceiver(nn.Module):
    """Latents, `depth` times [cross-attention, `selfs` self-attentions], their mean, LayerNorm.

    The tokens get Fourier features of their place (see `fourier_positions`) as further channels; attention alone does
    not know the order of what it reads. Weights are not shared between depths.

    Args:
        channels: Of a token, before position features.
        tokens: Number of tokens.
        latents: Number of latents.
        width: Of a latent, and of the output.
        depth: Times that the tokens are read; cross-attention has one head.
        selfs: Self-attention blocks after each reading.
        heads: Of self-attention.
        head_width: Of every head.
        factor: Hidden width of the feed-forward over `width`.
        bands: Fourier bands of the position features.
        max_frequency: Twice the highest of them.
    """

    def __init__(
        self,
        *,
        channels: int,
        tokens: int,
        latents: int = 256,
        width: int = 512,
        depth: int = 1,
        selfs: int = 0,
        heads: int = 8,
        head_width: int = 64,
        factor: int = 4,
        bands: int = 6,
        max_frequency: float = 10.0,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.tokens = tokens
        self.width = width
        positions = fourier_positions(tokens, bands=bands, max_frequency=max_frequency)
        self.positions: Tensor
        self.register_buffer("positions", positions, persistent=False)
        self.latents = nn.Parameter(torch.randn(latents, width))
        memory_width = channels + positions.shape[-1]
        self.reads = nn.ModuleList(
            CrossBlock(width, memory_width, head_width=head_width, factor=factor) for _ in range(depth)
        )
        self.thoughts = nn.ModuleList(
            nn.ModuleList(SelfBlock(width, heads=heads, head_width=head_width, factor=factor) for _ in range(selfs))
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, tokens, channels) -> (B, width)."""
        places = self.positions.expand(tokens.shape[0], -1, -1)
        memory = torch.cat([tokens, places], dim=-1)
        # The same for all examples until they have read. A copy: torch's counter of operations fails on a view here.
        latents = self.latents.repeat(1, 1, 1)
        for read, thoughts in zip(self.reads, self.thoughts, strict=True):
            latents = read(latents, memory)
            for think in thoughts:
                latents = think(latents)
        return self.norm(latents.mean(dim=1))

    def flops(self) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        count = self.latents.shape[0]
        reads = sum(read.flops(count, self.tokens) for read in self.reads)
        return reads + sum(think.flops(count) for thoughts in self.thoughts for think in thoughts)

    def probes(self) -> tuple[str, ...]:
        """Names of the weights of every query and key; of cross-attention only where there is a choice of tokens."""
        names = (name for name, _ in self.named_parameters() if name.endswith(("query.weight", "key.weight")))
        return tuple(name for name in names if self.tokens > 1 or not name.startswith("reads."))
