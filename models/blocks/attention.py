"""Multi-head attention that can show its weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.blocks.linear import TokenLinear


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017) with biases on all four projections.

    The same function and parameter count as `nn.MultiheadAttention`, written out: neither its fast path nor
    `scaled_dot_product_attention` returns weights, and the former cannot be exported.

    Args:
        dim: Width of queries, keys, values and output.
        heads: Number of heads; divides `dim`.
    """

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dim}")
        self.dim = dim
        self.heads = heads
        self.query = TokenLinear(dim, dim)
        self.key = TokenLinear(dim, dim)
        self.value = TokenLinear(dim, dim)
        self.out = TokenLinear(dim, dim)
        self._scale = 1.0 / math.sqrt(dim // heads)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, memory: Tensor, *, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Let each query look at the memory.

        Args:
            queries: (B, T, dim).
            memory: (B, S, dim), keys and values; the queries themselves for self-attention.
            with_weights: Give the weights too.

        Returns:
            (B, T, dim), and (B, T, S) weights, mean over heads, rows summing to 1; None unless asked for.
        """
        # (B, heads, T, d) and (B, heads, d, S): both products then run without a further transpose.
        q = self._split(self.query(queries) * self._scale).transpose(1, 2)
        k = self._split(self.key(memory)).permute(0, 2, 3, 1)
        v = self._split(self.value(memory)).transpose(1, 2)
        weights = torch.softmax(q @ k, dim=-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return self.out(mixed), weights.mean(dim=1) if with_weights else None

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim // self.heads))

    def flops(self, queries: int, keys: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        projections = 2 * (queries + keys) * self.dim * self.dim
        products = 2 * queries * keys * self.dim
        return 2 * (projections + products)
