"""What every architecture takes and gives, whatever its insides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor, nn

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Shape of every input by name, without the batch axis: (1, samples) of a signal, (channels, samples) of many signals
or of frame embeddings, (3, 224, 224) of an image."""


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
    """A classifier of aligned windows of one or more signals, or of images of them.

    Attributes:
        architecture: Name in the registry.
        paper: Where it was published, for lists and model.json: authors, title in short, year, DOI or address.
        input_names: Names of the inputs, in the order in which they are joined.
        classes: Number of classes.
        arguments: What the constructor was given, as plain values, to build the model again.
    """

    architecture: ClassVar[str]
    paper: ClassVar[str]
    arguments: dict[str, Any]
    input_names: tuple[str, ...]
    classes: int

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch.

        Args:
            inputs: By input name, (B, *shape), e.g. (B, 1, samples); see `Shapes`.
            with_attention: Give the attention maps too; they cost time, so live scoring leaves them out.
        """

    @abstractmethod
    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the published window, in the order of `input_names`; the only ones for some models."""

    @abstractmethod
    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """The maps that `forward` gives for windows of these shapes, in its order.

        Raises:
            ValueError: If the model does not take such windows.
        """

    @abstractmethod
    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate; element-wise work is not counted.

        Raises:
            ValueError: If the model does not take such windows.
        """

    @abstractmethod
    def parity_probes(self) -> tuple[str, ...]:
        """Names of tensors in the state_dict that steer attention or gates, or of rows of them: `NAME[0:30]`.

        At first weights attention is nearly flat, so an export that lost it can still look right. Each of these set
        to zero must be noticed by the export check.
        """

    def parameter_count(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.parameters())

    def check_shapes(self, shapes: Shapes) -> None:
        """Refuse windows other than those of `example_shapes`, for models that take no others.

        Raises:
            ValueError: Naming the first input that differs.
        """
        for name, shape in self.example_shapes().items():
            if shapes.get(name) != shape:
                raise ValueError(f"{self.architecture} takes {shape} of {name}, not {shapes.get(name)}")
