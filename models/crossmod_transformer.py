"""CrossMod-Transformer: FCN and attention LSTM per signal, fused by cross-attention, then fused across two signals.

The paper's tables, equations and figures contradict each other in places. The parts and the readings that they take
are in `models/crossmod_parts.py`; the three readings of the whole are the presets below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes
from models.crossmod_parts import PUBLISHED_SAMPLES, TABLES, WIDTH, Layout, SignalEncoder, TransformerBlock

PRESETS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "tables": TABLES,
        "fig8": Layout(hidden=128, context=False, passed="fused"),
        "literal": Layout(pooled=True),
    }
)


class CrossModTransformer(PainModel):
    """CrossMod-Transformer on two signals.

    A `SignalEncoder` per signal, one more transformer block with its own weights on the two token sequences, mean
    over time, FC1-3, FC4. With two classes and 138 points:

    | preset  | parameters | million operations |
    |---------|------------|--------------------|
    | tables  | 2,511,876  | 724 |
    | fig8    | 3,927,172  | 954 |
    | literal | 2,511,876  | 176 |

    "tables" is the one in which every shape of Tables 1-3 holds; it is the default, and the one that is trained.
    "fig8" is the only reading found with Fig. 8's operations: an ALSTM 128 wide whose tokens are h_t, and a last block
    256 wide on the cross-attention's output (Eq. 16) before FC1. "literal" follows Eqs. 5, 10 and 18 as printed:
    pooled vectors, one token a signal.

    Fig. 8 prints 73.28 (FCN), 55.82 (ALSTM) and 442.76 (last block) million, and 1.03 thousand million in all, which
    no variant found gives. In "fig8" FC1-3 of each signal serve stage training alone; with them it is 955 million.

    In "literal" softmax runs over a single key: self- and cross-attention are constantly 1, cross-attention is a
    linear map, and neither is shown. Its queries and keys are dead weights.

    Args:
        inputs: Names of the two inputs, each (B, 1, S); the paper has EDA and ECG, or EDA and BVP, S = 138 at 25 Hz.
        classes: Number of classes.
        dropout: In the signal encoders (the paper tunes 0.1-0.4).
        final_dropout: In the last block (the paper tunes 0.3-0.7).
        preset: "tables", "fig8" or "literal".

    Raises:
        ValueError: If there is no such preset, or nothing to fuse or to classify.
    """

    architecture = "crossmod-transformer"
    paper = "CrossMod-Transformer, 2025"

    def __init__(
        self,
        *,
        inputs: Sequence[str] = ("eda", "ecg"),
        classes: int = 3,
        dropout: float = 0.2,
        final_dropout: float = 0.5,
        preset: str = "tables",
    ) -> None:
        super().__init__()
        if len(inputs) != 2 or inputs[0] == inputs[1]:
            raise ValueError(f"CrossMod-Transformer fuses two different signals, not {tuple(inputs)}")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        if preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
        self.arguments = {
            "inputs": list(inputs),
            "classes": classes,
            "dropout": dropout,
            "final_dropout": final_dropout,
            "preset": preset,
        }
        self.input_names = tuple(inputs)
        self.classes = classes
        self.layout = PRESETS[preset]
        self.encoders = nn.ModuleDict({name: SignalEncoder(layout=self.layout, dropout=dropout) for name in inputs})
        self.block = TransformerBlock(width=self.layout.tokens, dropout=final_dropout)
        self.fc4 = nn.Linear(WIDTH, classes)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are FC3's, (B, 128). See `attention_maps` for the maps."""
        first, second = self.input_names
        tokens1, temporal1 = self.encoders[first](inputs[first])
        tokens2, temporal2 = self.encoders[second](inputs[second])
        fused, maps = self.block(tokens1, tokens2, with_weights=with_attention)
        features = self.block.features(fused.mean(dim=1))
        logits = self.fc4(features)
        if not with_attention:
            return PainOutput(logits=logits, features=features)

        named: tuple[Tensor | None, ...] = (temporal1, temporal2)
        if not self.layout.pooled:
            shown = self.block.attribution(fused, self.fc4.weight[logits.argmax(dim=-1)])
            width = self.block.width
            squares = (maps["self1"], maps["self2"], maps["cross1"], maps["cross2"])
            named = (*squares, *named, shown[..., :width], shown[..., width:])
        names = [item.name for item in self._maps(temporal1.shape[1])]
        return PainOutput(logits=logits, features=features, attention=dict(zip(names, named, strict=True)))

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """138 points of each signal: 5.5 s at 25 Hz. Other lengths work too, if both are equal."""
        return dict.fromkeys(self.input_names, (1, PUBLISHED_SAMPLES))

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """Self- and cross-attention of the last block, attention over time of each ALSTM, and Fig. 7's embedding map.

        Preset "literal" has the attention over time alone.

        Attention is the mean over heads, rows are queries (Figs. 5 and 6). `embedding.<m>` is H * d logit / d H of
        the winning class on the output of the cross-attention whose queries are m: signed, and its rows do not sum
        to 1. The paper does not define it; this is our reading.
        """
        return self._maps(self._samples(shapes))

    def _samples(self, shapes: Shapes) -> int:
        first, second = (shapes[name] for name in self.input_names)
        if first != second or first[0] != 1:
            raise ValueError(f"both signals have the same number of points, not {first} and {second}")
        return first[1]

    def _maps(self, samples: int) -> tuple[AttentionMap, ...]:
        first, second = self.input_names
        square, wide = (samples, samples), (samples, self.block.width)

        def time(name: str, kind: str, by: str, of: str, shape: tuple[int, ...]) -> AttentionMap:
            return AttentionMap(name=name, kind=kind, axis="time", of=of, by=by, shape=shape)

        temporal = tuple(time(f"temporal.{m}", "temporal", m, m, (samples,)) for m in self.input_names)
        if self.layout.pooled:
            return temporal
        return (
            time(f"self.{first}", "self", first, first, square),
            time(f"self.{second}", "self", second, second, square),
            time(f"cross.{first}_from_{second}", "cross", first, second, square),
            time(f"cross.{second}_from_{first}", "cross", second, first, square),
            *temporal,
            *(
                AttentionMap(name=f"embedding.{m}", kind="embedding", axis="channel", of=m, by=m, shape=wide)
                for m in self.input_names
            ),
        )

    def parity_probes(self) -> tuple[str, ...]:
        """The weights of every query, every key and the ALSTM scores; of the scores alone in preset "literal"."""
        ends: tuple[str, ...] = ("score.weight",)
        if not self.layout.pooled:
            ends = ("query.weight", "key.weight", *ends)
        return tuple(name for name in self.state_dict() if name.endswith(ends))

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        samples = self._samples(shapes)
        encoders = sum(encoder.flops(samples) for encoder in self.encoders.values())
        tokens = 1 if self.layout.pooled else samples
        return encoders + self.block.flops(tokens, dense=1) + 2 * WIDTH * self.classes
