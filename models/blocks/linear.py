"""A linear layer for token sequences that exports to one operator."""

from __future__ import annotations

from torch import Tensor, nn


class TokenLinear(nn.Linear):
    """`nn.Linear` on (B, S, in) or (B, in), with batch and time joined into rows before the product.

    The numbers are those of `nn.Linear`. In ONNX a product of three axes becomes MatMul and a separate Add over the
    whole result; one of two axes becomes Gemm, which adds the bias while the row is still in cache.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.flatten(0, 1)).reshape(-1, x.shape[1], self.out_features)
