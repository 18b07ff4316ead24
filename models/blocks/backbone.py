"""What an encoder of images gives, whatever its insides: one embedding an image, and what it looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from torch import Tensor, nn

IMAGE_SIZE: Final = 224
IMAGE_SHAPE: Final = (3, IMAGE_SIZE, IMAGE_SIZE)
"""Shape of an image without the batch axis: red, green, blue as 0..1 (less the mean, over the spread, where the
encoder was trained so)."""


@dataclass(frozen=True, kw_only=True)
class BackboneMap:
    """One of the maps that an encoder can give of each image."""

    name: str
    """`rollout`, `gate.1`, ..."""
    kind: str
    axis: Literal["channel", "image"]
    shape: tuple[int, ...]
    """Without the batch axis."""


class ImageBackbone(nn.Module, ABC):
    """An encoder of 224 x 224 images.

    Attributes:
        embedding: Width of the embedding.
        paper: Where it was published.
        maps: What `forward` can show, in its order.
        mean: Taken off red, green and blue before the encoder, as published; part of how an image is drawn.
        std: What they are then divided by.
    """

    embedding: ClassVar[int]
    paper: ClassVar[str]
    maps: ClassVar[tuple[BackboneMap, ...]]
    mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)

    @abstractmethod
    def forward(self, images: Tensor, *, with_attention: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, 3, 224, 224) -> embedding (B, D), and the maps by name, (B, *shape); empty unless asked for."""

    @abstractmethod
    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate; element-wise work is not counted."""

    @abstractmethod
    def parity_probes(self) -> tuple[str, ...]:
        """Names of tensors of the state_dict that steer spectral filters, attention or gates (see `PainModel`)."""
