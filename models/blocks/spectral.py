"""A learned filter in the frequency plane of an image of tokens."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class SpectralGate(nn.Module):
    """Global filter (Rao et al., 2021): 2-D DFT of every channel, times a complex weight, back again.

    It mixes all tokens of an image, each channel for itself, and takes the place of attention in the first stages of a
    SpectFormer. Both transforms are orthonormal. Only the half of the plane that a real image needs is kept; the
    imaginary parts that a real result cannot have are dropped, as `torch.fft.irfft2` does.

    Computed with `torch.fft`; in an exported graph as products of matrices (`products`), which ONNX Runtime runs many
    times faster than its own DFT of sizes that are no power of two.

    Args:
        dim: Channels.
        height: Rows of the image of tokens.
        width: Its columns, an even number.
    """

    along_row: Tensor
    along_column: Tensor
    back_column: Tensor
    back_row: Tensor

    def __init__(self, *, dim: int, height: int, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"the image of tokens has an even number of columns, not {width}")
        self.height = height
        self.width = width
        self.complex_weight = nn.Parameter(0.02 * torch.randn(height, width // 2 + 1, dim, 2))
        # Not part of the weights: they follow from the size.
        for name, matrix in dft_matrices(height, width)._asdict().items():
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, height * width, dim) -> the same shape."""
        if torch.compiler.is_exporting():
            return self.products(tokens)
        image = tokens.unflatten(1, (self.height, self.width))
        plane = torch.fft.rfft2(image, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.complex_weight)
        image = torch.fft.irfft2(plane, s=(self.height, self.width), dim=(1, 2), norm="ortho")
        return image.flatten(1, 2)

    def products(self, tokens: Tensor) -> Tensor:
        """What `forward` gives, by real products of matrices alone.

        Channels stay last. The transforms along the rows are then one product of (2 W', W) with (W, C) for each row,
        W' = W / 2 + 1, and those along the columns one large product of (2 H, 2 H) with (2 H, W' C), in which the
        real and the imaginary half stand one below the other.
        """
        height, width, half = self.height, self.width, self.width // 2 + 1
        rows = self.along_row @ tokens.unflatten(1, (height, width))
        plane = self.along_column @ rows.reshape(-1, 2 * height, half * tokens.shape[2])
        real, imaginary = plane.chunk(2, dim=1)
        weight_real, weight_imaginary = self.complex_weight.flatten(1, 2).unbind(-1)
        plane = torch.cat(
            [real * weight_real - imaginary * weight_imaginary, real * weight_imaginary + imaginary * weight_real],
            dim=1,
        )
        rows = (self.back_column @ plane).reshape(-1, height, 2 * half, tokens.shape[2])
        return (self.back_row @ rows).flatten(1, 2)


class DFTMatrices(NamedTuple):
    """The orthonormal 2-D DFT of a real image of H rows and W columns, and its inverse, as real matrices in float32.

    The plane is kept as W' = W / 2 + 1 columns, for which the image must have an even number of them.
    """

    along_row: Tensor
    """(2 W', W): cosines, then negative sines."""
    along_column: Tensor
    """(2 H, 2 H): from pairs of (real, imaginary) in each of H rows to H real, then H imaginary rows."""
    back_column: Tensor
    """(2 H, 2 H): the inverse of `along_column`."""
    back_row: Tensor
    """(W, 2 W'): from the W' real and W' imaginary parts of a row to the row."""


def dft_matrices(height: int, width: int) -> DFTMatrices:
    """The matrices for an image of so many rows and columns."""
    column = torch.arange(width // 2 + 1)
    cosine, sine = _waves(column, torch.arange(width), width)
    along_row = torch.cat([cosine, -sine])
    # Every column but the first and the last also stands for its mirror image.
    times = torch.where((column == 0) | (column == width // 2), 1.0, 2.0)
    back_row = torch.cat([times[:, None] * cosine, -times[:, None] * sine]).T

    cosine, sine = _waves(torch.arange(height), torch.arange(height), height)
    # From pairs of (real, imaginary) in each row h: (part out, k, h, part in).
    turn = torch.stack([torch.stack([cosine, sine], dim=-1), torch.stack([-sine, cosine], dim=-1)])
    along_column = turn.reshape(2 * height, 2 * height)
    matrices = (along_row, along_column, along_column.T, back_row)
    return DFTMatrices(*(matrix.float().contiguous() for matrix in matrices))


def _waves(frequencies: Tensor, points: Tensor, size: int) -> tuple[Tensor, Tensor]:
    # The product is taken modulo the size in whole numbers, so that sin(pi) and the like are zero to rounding.
    angle = (frequencies[:, None] * points % size).double() * (2.0 * math.pi / size)
    return angle.cos() / math.sqrt(size), angle.sin() / math.sqrt(size)
