"""A convolution without bias and its BatchNorm."""

from __future__ import annotations

from torch import Tensor, nn


class ConvBN(nn.Module):
    """Convolution without bias, BatchNorm (eps 1e-5); positions at the border are padded with zeros.

    The two are one convolution for ONNX Runtime, which folds them when it loads a graph.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel, odd.
        stride: Of the convolution.
        groups: Of channels; as many as channels for a depthwise convolution.
        bn_weight: First weight of BatchNorm; 0 at the end of a residual branch, which then begins as nothing.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, bn_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        nn.init.constant_(self.bn.weight, bn_weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ceil(H / stride), ceil(W / stride))."""
        return self.bn(self.c(x))

    def flops(self, points: int) -> int:
        """Operations for one image of `points` positions after it, at 2 per multiply-accumulate."""
        return 2 * points * self.c.weight.numel()
