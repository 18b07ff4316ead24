"""CrossMod-Transformer: FCN and attention LSTM per signal, fused by cross-attention, then fused across two signals.

The paper's tables, equations and figures contradict each other in places. Every reading taken is stated at the class
that takes it; together they are the one architecture in which all shapes of Tables 1-3 hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes
from models.blocks.activations import elish
from models.blocks.attention import MultiHeadAttention
from models.blocks.linear import TokenLinear

PUBLISHED_SAMPLES: Final = 138
"""Points of the published window: 5.5 s at 25 Hz."""
WIDTH: Final = 128
"""Width of the tokens and of the features from FC3."""


class ConvLayer(nn.Module):
    """Convolution, BatchNorm, ReLU and dropout, length kept."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, dropout: float) -> None:
        super().__init__()
        # What padding="same" does, which warns for even kernels: an even one gets its extra zero on the right.
        self.pad = nn.ConstantPad1d(((kernel - 1) // 2, kernel // 2), 0.0)
        self.conv = nn.Conv1d(inputs, outputs, kernel)
        self.norm = nn.BatchNorm1d(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, S) -> (B, outputs, S)."""
        return self.dropout(torch.relu(self.norm(self.conv(self.pad(x)))))


class FCN(nn.Module):
    """Fully convolutional network, Table 1: 1 -> 128 (k 8) -> 256 (k 5) -> 128 (k 3), length kept.

    Each convolution has a bias and is followed by BatchNorm, ReLU and dropout. 264,704 parameters, the sum of the
    table's rows; the printed total 264,192 omits 512 of them.

    Reading: k = 8 cannot keep the length symmetrically, so it is padded by 3 on the left and 4 on the right. The map
    before global average pooling is passed on as tokens; its mean over time is g of Eq. 5.
    """

    _LAYERS: Final = ((1, 128, 8), (128, 256, 5), (256, WIDTH, 3))

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(ConvLayer(*sizes, dropout=dropout) for sizes in self._LAYERS))

    def forward(self, signal: Tensor) -> Tensor:
        """(B, 1, S) -> tokens (B, S, 128)."""
        return self.layers(signal).transpose(1, 2)

    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return 2 * samples * sum(inputs * outputs * kernel for inputs, outputs, kernel in self._LAYERS)


class ALSTM(nn.Module):
    """Attention LSTM, Table 2 and Eqs. 6-10: two LSTM layers of 64, ELiSH scores, softmax over time.

    50,497 parameters. The printed 33,857 cannot hold: its 33,792 for the LSTM is two single-bias layers that both
    read the signal itself.

    Readings: uni-directional; ELiSH as printed in Eq. 7; the score is Linear(64, 1) without the tanh layer of the
    "Bahdanau" attention that the text names. Eq. 10 passes on [c; h_S] alone, which leaves nothing to attend over in
    time, so the tokens are [c; h_t] for every t, and the last of them is exactly Eq. 10.
    """

    HIDDEN: Final = 64

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, self.HIDDEN, num_layers=2, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(self.HIDDEN, 1)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S) -> tokens (B, S, 128), and attention over time (B, S) that sums to 1."""
        hidden = self.dropout(self.lstm(signal.transpose(1, 2))[0])
        weights = torch.softmax(elish(self.score(hidden)).squeeze(-1), dim=-1)
        context = weights.unsqueeze(1) @ hidden
        return torch.cat([context.expand(-1, hidden.shape[1], -1), hidden], dim=-1), weights

    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        gates = 4 * self.HIDDEN * ((1 + self.HIDDEN) + 2 * self.HIDDEN)
        return 2 * samples * (gates + 2 * self.HIDDEN)


class EncoderLayer(nn.Module):
    """Post-norm transformer encoder of Table 3: 8 heads, feed-forward 128 -> 128 -> 128 with ReLU. 99,584 parameters.

    Reading: no positional encoding, since none is listed; the tokens carry time through convolution and recurrence.
    Dropout acts on each sub-layer's output before it is added.
    """

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim=WIDTH, heads=8)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.linear1 = TokenLinear(WIDTH, WIDTH)
        self.linear2 = TokenLinear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, *, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, S, 128) -> (B, S, 128), and the self-attention (B, S, S) where it is asked for."""
        attended, weights = self.attention(tokens, tokens, with_weights=with_weights)
        tokens = self.norm1(tokens + self.dropout(attended))
        expanded = self.linear2(torch.relu(self.linear1(tokens)))
        return self.norm2(tokens + self.dropout(expanded)), weights

    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.attention.flops(samples, samples) + 2 * samples * 2 * WIDTH * WIDTH


class TransformerBlock(nn.Module):
    """Two encoders, two cross-attentions and FC1-3 of Table 3, for a pair of token sequences. 627,072 parameters.

    The table's 49,152 per attention is the input projection's weight alone; with biases and output projection it is
    66,048, and the block has 67,584 parameters more than the printed 559,488.

    Readings: cross-attention has no residual and no norm, since neither is listed; "mean over S" stands between
    concatenation and FC1, and FC1-3 each end in ReLU.
    """

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.encoder1 = EncoderLayer(dropout=dropout)
        self.encoder2 = EncoderLayer(dropout=dropout)
        self.cross1 = MultiHeadAttention(dim=WIDTH, heads=8)
        self.cross2 = MultiHeadAttention(dim=WIDTH, heads=8)
        self.fc1 = TokenLinear(2 * WIDTH, 512)
        self.fc2 = TokenLinear(512, 256)
        self.fc3 = TokenLinear(256, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, first: Tensor, second: Tensor, *, with_weights: bool = False
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Fuse two sequences.

        Args:
            first: (B, S, 128).
            second: (B, S, 128).
            with_weights: Give the attention weights too.

        Returns:
            Fused tokens (B, S, 256), [first looking at second; second looking at first], and the four attention maps
            (B, S, S): self1, self2, cross1 (rows first, columns second), cross2; None unless asked for.
        """
        first, self1 = self.encoder1(first, with_weights=with_weights)
        second, self2 = self.encoder2(second, with_weights=with_weights)
        fused1, cross1 = self.cross1(first, second, with_weights=with_weights)
        fused2, cross2 = self.cross2(second, first, with_weights=with_weights)
        fused = torch.cat([fused1, fused2], dim=-1)
        return fused, {"self1": self1, "self2": self2, "cross1": cross1, "cross2": cross2}

    def features(self, fused: Tensor) -> Tensor:
        """FC1-3 along the last axis: (..., 256) -> (..., 128)."""
        hidden = self.dropout(torch.relu(self.fc1(fused)))
        hidden = self.dropout(torch.relu(self.fc2(hidden)))
        return torch.relu(self.fc3(hidden))

    def attribution(self, fused: Tensor, direction: Tensor) -> Tensor:
        """H * d logit / d H for the fused tokens H of a pooled block (Fig. 7), without a backward pass.

        The mean over time comes first, so that the gradient is the same at every time step: `direction` through FC3,
        FC2 and FC1 with their ReLU masks, over S. As products of matrices it can be exported.

        Args:
            fused: (B, S, 256).
            direction: (B, 128), d logit / d features.

        Returns:
            (B, S, 256); summed over S and channels it is the logit's part that is linear in H.
        """
        hidden1 = torch.relu(self.fc1(fused.mean(dim=1)))
        hidden2 = torch.relu(self.fc2(hidden1))
        hidden3 = torch.relu(self.fc3(hidden2))
        gradient = (direction * (hidden3 > 0).to(fused.dtype)) @ self.fc3.weight
        gradient = (gradient * (hidden2 > 0).to(fused.dtype)) @ self.fc2.weight
        gradient = (gradient * (hidden1 > 0).to(fused.dtype)) @ self.fc1.weight
        return fused * gradient.unsqueeze(1) / fused.shape[1]

    def flops(self, samples: int, *, pooled: bool) -> int:
        """Operations for one window; FC1-3 run once where `pooled`, else at every time step."""
        encoders = self.encoder1.flops(samples) + self.encoder2.flops(samples)
        crossed = self.cross1.flops(samples, samples) + self.cross2.flops(samples, samples)
        dense = 2 * (2 * WIDTH * 512 + 512 * 256 + 256 * WIDTH)
        return encoders + crossed + dense * (1 if pooled else samples)


class SignalEncoder(nn.Module):
    """FCN, ALSTM and their transformer block for one signal (the paper's FAT). 942,273 parameters.

    Reading: Fig. 2 and Eq. 18 pass the pooled 128-vector of FC3 to the next stage, where attention over one key is
    constantly 1 and the maps of Figs. 5-7 could not exist. Table 3 wants S time steps, so the same FC1-3 are applied
    to every time step and the tokens passed on are (S, 128).

    Each part is first trained alone with a temporary head (`stage_features`), as the paper does.
    """

    STAGES: Final = ("fcn", "alstm", "block")

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.fcn = FCN(dropout=dropout)
        self.alstm = ALSTM(dropout=dropout)
        self.block = TransformerBlock(dropout=dropout)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S) -> tokens (B, S, 128), and the ALSTM's attention over time (B, S)."""
        tokens, weights = self.alstm(signal)
        fused, _ = self.block(self.fcn(signal), tokens)
        return self.block.features(fused), weights

    def stage_features(self, signal: Tensor, stage: str) -> Tensor:
        """(B, 1, S) -> (B, 128): what a temporary head sees while `stage` is trained and the stages before it rest.

        Args:
            signal: (B, 1, S).
            stage: `fcn` (g of Eq. 5), `alstm` ([c; h_S] of Eq. 10) or `block` (mean over time, then FC1-3).

        Raises:
            ValueError: If there is no such stage.
        """
        if stage == "fcn":
            return self.fcn(signal).mean(dim=1)
        if stage == "alstm":
            return self.alstm(signal)[0][:, -1]
        if stage == "block":
            fused, _ = self.block(self.fcn(signal), self.alstm(signal)[0])
            return self.block.features(fused.mean(dim=1))
        raise ValueError(f"no stage {stage!r}; there are {', '.join(self.STAGES)}")

    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.fcn.flops(samples) + self.alstm.flops(samples) + self.block.flops(samples, pooled=False)


class CrossModTransformer(PainModel):
    """CrossMod-Transformer on two signals, preset "tables": every shape of Tables 1-3 holds.

    A `SignalEncoder` per signal, one more transformer block with its own weights on the two token sequences, mean
    over time, FC1-3, FC4. With two classes 2,511,876 parameters and 724 million operations for 138 points. The
    paper's 442.76 million for the last stage and 1.03 thousand million in all belong to a 256-wide variant that its
    tables do not describe.

    Args:
        inputs: Names of the two inputs, each (B, 1, S); the paper has EDA and ECG, or EDA and BVP, S = 138 at 25 Hz.
        classes: Number of classes.
        dropout: In the signal encoders (the paper tunes 0.1-0.4).
        final_dropout: In the last block (the paper tunes 0.3-0.7).
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
    ) -> None:
        super().__init__()
        if len(inputs) != 2 or inputs[0] == inputs[1]:
            raise ValueError(f"CrossMod-Transformer fuses two different signals, not {tuple(inputs)}")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        self.arguments = {
            "inputs": list(inputs),
            "classes": classes,
            "dropout": dropout,
            "final_dropout": final_dropout,
        }
        self.input_names = tuple(inputs)
        self.classes = classes
        self.encoders = nn.ModuleDict({name: SignalEncoder(dropout=dropout) for name in inputs})
        self.block = TransformerBlock(dropout=final_dropout)
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

        shown = self.block.attribution(fused, self.fc4.weight[logits.argmax(dim=-1)])
        named = (
            maps["self1"],
            maps["self2"],
            maps["cross1"],
            maps["cross2"],
            temporal1,
            temporal2,
            shown[..., :WIDTH],
            shown[..., WIDTH:],
        )
        names = [item.name for item in self._maps(fused.shape[1])]
        return PainOutput(logits=logits, features=features, attention=dict(zip(names, named, strict=True)))

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """138 points of each signal: 5.5 s at 25 Hz. Other lengths work too, if both are equal."""
        return dict.fromkeys(self.input_names, (1, PUBLISHED_SAMPLES))

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """Self- and cross-attention of the last block, attention over time of each ALSTM, and Fig. 7's embedding map.

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
        square = (samples, samples)

        def time(name: str, kind: str, by: str, of: str, shape: tuple[int, ...]) -> AttentionMap:
            return AttentionMap(name=name, kind=kind, axis="time", of=of, by=by, shape=shape)

        return (
            time(f"self.{first}", "self", first, first, square),
            time(f"self.{second}", "self", second, second, square),
            time(f"cross.{first}_from_{second}", "cross", first, second, square),
            time(f"cross.{second}_from_{first}", "cross", second, first, square),
            *(time(f"temporal.{m}", "temporal", m, m, (samples,)) for m in self.input_names),
            *(
                AttentionMap(
                    name=f"embedding.{m}", kind="embedding", axis="channel", of=m, by=m, shape=(samples, WIDTH)
                )
                for m in self.input_names
            ),
        )

    def parity_probes(self) -> tuple[str, ...]:
        """The weights of every query, every key and the ALSTM scores."""
        ends = ("query.weight", "key.weight", "score.weight")
        return tuple(name for name in self.state_dict() if name.endswith(ends))

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        samples = self._samples(shapes)
        encoders = sum(encoder.flops(samples) for encoder in self.encoders.values())
        return encoders + self.block.flops(samples, pooled=True) + 2 * WIDTH * self.classes


def stage_head(classes: int) -> nn.Sequential:
    """The temporary head of a training stage, 128 -> 64 -> classes: not printed, but the FLOPs of Fig. 8 agree."""
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, classes))
