"""CrossMod-Transformer's parts as classifiers of one signal each: FCN, ALSTM, and both fused (the paper's FAT).

The paper trains and judges each of them alone (its tables of results have rows for every one), with a temporary head
that it does not print; 128 -> 64 -> classes is our reading, as the operations of Fig. 8 agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes
from models.crossmod_parts import ALSTM, FCN, PUBLISHED_SAMPLES, WIDTH, SignalEncoder, stage_head
from models.crossmod_transformer import CrossModTransformer


class OneSignal(PainModel):
    """What the three share: one input (B, 1, S) of any length, 138 points at 25 Hz in the paper.

    Args:
        inputs: Name of the one input.
        classes: Number of classes.
        dropout: In all parts (the paper tunes 0.1-0.4).

    Raises:
        ValueError: If there is more than one input, or nothing to classify.
    """

    paper = CrossModTransformer.paper
    probes: ClassVar[tuple[str, ...]]
    """How the names of the parity probes end."""

    def __init__(self, *, inputs: Sequence[str] = ("eda",), classes: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        if len(inputs) != 1:
            raise ValueError(f"{self.architecture} reads one signal, not {tuple(inputs)}")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        self.arguments = {"inputs": list(inputs), "classes": classes, "dropout": dropout}
        self.input_names = tuple(inputs)
        self.classes = classes

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """138 points: 5.5 s at 25 Hz. Other lengths work too."""
        return {self.input_names[0]: (1, PUBLISHED_SAMPLES)}

    def parity_probes(self) -> tuple[str, ...]:
        """Weights of convolutions, queries, keys and scores."""
        return tuple(name for name in self.state_dict() if name.endswith(self.probes))

    def samples(self, shapes: Shapes) -> int:
        """Points of the window.

        Raises:
            ValueError: If the signal has more than one channel.
        """
        (name,) = self.input_names
        if len(shapes[name]) != 2 or shapes[name][0] != 1:
            raise ValueError(f"{self.architecture} takes (1, samples) of {name}, not {shapes[name]}")
        return shapes[name][1]

    def time_map(self, name: str, kind: str, *shape: int) -> AttentionMap:
        """A map whose axes run over the points of the signal."""
        (signal,) = self.input_names
        return AttentionMap(name=name, kind=kind, axis="time", of=signal, by=signal, shape=shape)


class CrossModFCN(OneSignal):
    """FCN (Table 1), mean over time (Eq. 5), head. 273,090 parameters for two classes, 72.7 million operations.

    It has no attention and no maps.
    """

    architecture = "crossmod-fcn"
    probes = ("conv.weight",)

    def __init__(self, *, inputs: Sequence[str] = ("eda",), classes: int = 3, dropout: float = 0.2) -> None:
        super().__init__(inputs=inputs, classes=classes, dropout=dropout)
        self.fcn = FCN(dropout=dropout)
        self.head = stage_head(classes)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:  # noqa: ARG002
        """Classify a batch; the features are g of Eq. 5, (B, 128)."""
        features = self.fcn(inputs[self.input_names[0]]).mean(dim=1)
        return PainOutput(logits=self.head(features), features=features)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """None."""
        self.samples(shapes)
        return ()

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.fcn.flops(self.samples(shapes)) + _head_flops(self.classes)


class CrossModALSTM(OneSignal):
    """ALSTM (Table 2), [c; h_S] of Eq. 10, head. 58,883 parameters for two classes, 13.7 million operations."""

    architecture = "crossmod-alstm"
    probes = ("score.weight", "weight_hh_l0", "weight_hh_l1")

    def __init__(self, *, inputs: Sequence[str] = ("eda",), classes: int = 3, dropout: float = 0.2) -> None:
        super().__init__(inputs=inputs, classes=classes, dropout=dropout)
        self.alstm = ALSTM(dropout=dropout)
        self.head = stage_head(classes)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are [c; h_S], (B, 128)."""
        (name,) = self.input_names
        tokens, weights = self.alstm(inputs[name])
        features = tokens[:, -1]
        attention = {f"temporal.{name}": weights} if with_attention else {}
        return PainOutput(logits=self.head(features), features=features, attention=attention)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """`temporal.<signal>`: what c takes of every point, summing to 1 (Eqs. 7-9)."""
        return (self.time_map(f"temporal.{self.input_names[0]}", "temporal", self.samples(shapes)),)

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.alstm.flops(self.samples(shapes)) + _head_flops(self.classes)


class CrossModFAT(OneSignal):
    """FCN-ALSTM-Transformer: both token sequences of one signal, fused by a block of Table 3, mean, FC1-3, FC4.

    942,531 parameters for two classes, 216.3 million operations. Unlike in the whole, FC1-3 run once, after the mean
    over time, which is the order that Table 3 prints.
    """

    architecture = "crossmod-fat"
    probes = ("query.weight", "key.weight", "score.weight")

    def __init__(self, *, inputs: Sequence[str] = ("eda",), classes: int = 3, dropout: float = 0.2) -> None:
        super().__init__(inputs=inputs, classes=classes, dropout=dropout)
        self.encoder = SignalEncoder(dropout=dropout)
        self.fc4 = nn.Linear(WIDTH, classes)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are FC3's, (B, 128)."""
        (name,) = self.input_names
        fused, maps, temporal = self.encoder.fuse(inputs[name], with_weights=with_attention)
        features = self.encoder.block.features(fused.mean(dim=1))
        logits = self.fc4(features)
        if not with_attention:
            return PainOutput(logits=logits, features=features)
        named = (maps["self1"], maps["self2"], maps["cross1"], maps["cross2"], temporal)
        names = [item.name for item in self._maps(temporal.shape[1])]
        return PainOutput(logits=logits, features=features, attention=dict(zip(names, named, strict=True)))

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """Self-attention of FCN and ALSTM tokens, cross-attention between them, attention over time.

        Mean over heads; rows are queries and sum to 1. In `cross.fcn_from_alstm` the queries are the FCN's tokens.
        Both sequences have one token a point of the same signal.
        """
        return self._maps(self.samples(shapes))

    def _maps(self, samples: int) -> tuple[AttentionMap, ...]:
        square = (samples, samples)
        return (
            self.time_map("self.fcn", "self", *square),
            self.time_map("self.alstm", "self", *square),
            self.time_map("cross.fcn_from_alstm", "cross", *square),
            self.time_map("cross.alstm_from_fcn", "cross", *square),
            self.time_map(f"temporal.{self.input_names[0]}", "temporal", samples),
        )

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.encoder.flops(self.samples(shapes), dense=1) + 2 * WIDTH * self.classes


def _head_flops(classes: int) -> int:
    return 2 * (WIDTH * 64 + 64 * classes)
