"""What every architecture takes and gives, whatever its insides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class PainOutput:
    """What a model says of a batch of windows."""

    logits: Tensor
    """(B, classes), before temperature and softmax."""
    features: Tensor
    """(B, D) of the layer before the last."""
    attention: dict[str, Tensor] = field(default_factory=dict)
    """(B, *shape) by name; empty unless it was asked for."""


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """One of the maps that a model can give."""

    name: str
    kind: str
    axis: Literal["time", "token", "channel", "image", "modality"]
    """What its axes run over; only `time` may be drawn over a waveform."""
    of: str
    """Input that the columns (keys) belong to."""
    by: str
    """Input that the rows (queries) belong to."""
    shape: tuple[int, ...]
    """Without the batch axis."""


class PainModel(nn.Module, ABC):
    """A classifier of aligned windows of one or more signals.

    Attributes:
        architecture: Name in the registry.
        input_names: Names of the inputs, in the order in which they are joined.
        classes: Number of classes.
        arguments: What the constructor was given, as plain values, to build the model again.
    """

    architecture: str
    arguments: dict[str, Any]
    input_names: tuple[str, ...]
    classes: int

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch.

        Args:
            inputs: By input name, (B, channels, samples).
            with_attention: Give the attention maps too; they cost time, so live scoring leaves them out.
        """

    @abstractmethod
    def attention_maps(self, samples: int) -> tuple[AttentionMap, ...]:
        """The maps that `forward` gives for windows of `samples` points, in its order."""

    @abstractmethod
    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate; element-wise work is not counted."""

    @abstractmethod
    def parity_probes(self) -> tuple[str, ...]:
        """Names of tensors in the state_dict that steer attention or gates.

        At first weights attention is nearly flat, so an export that lost it can still look right. Each of these set
        to zero must be noticed by the export check.
        """

    def parameter_count(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.parameters())
