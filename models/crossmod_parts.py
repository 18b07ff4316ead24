"""Parts of CrossMod-Transformer: FCN, attention LSTM, transformer block, and the three together for one signal.

The paper's tables, equations and figures contradict each other in places. Every reading taken is stated at the class
that takes it. `Layout` says what differs between the three presets of the whole (`models/crossmod_transformer.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from models.blocks.activations import elish
from models.blocks.attention import MultiHeadAttention
from models.blocks.linear import TokenLinear

PUBLISHED_SAMPLES: Final = 138
"""Points of the published window: 5.5 s at 25 Hz."""
WIDTH: Final = 128
"""Width of the tokens and of the features from FC3."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the paper's readings part ways."""

    hidden: int = 64
    """Width of the ALSTM."""
    context: bool = True
    """The ALSTM's tokens are [c; h_t], not h_t alone."""
    pooled: bool = False
    """Signals are pooled before they are fused: one token each."""
    passed: Literal["features", "fused"] = "features"
    """What a signal's block passes on: FC3's features of every token, or the tokens before FC1."""

    @property
    def tokens(self) -> int:
        """Width of the tokens that a signal's encoder passes on."""
        return WIDTH if self.passed == "features" else 2 * WIDTH


TABLES: Final = Layout()


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

    Twice as wide (`hidden` 128, 199,297 parameters) it has the operations of Fig. 8; its tokens are then h_t alone,
    and the attention over time is shown but not passed on.

    Args:
        hidden: Width of both layers.
        context: Put c in front of every h_t.
        dropout: On the output of the second layer.
    """

    def __init__(self, *, hidden: int = 64, context: bool = True, dropout: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.context = context
        self.lstm = nn.LSTM(1, hidden, num_layers=2, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(hidden, 1)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S) -> tokens (B, S, 128 where hidden is 64 or 128), and attention over time (B, S) that sums to 1."""
        hidden = self.dropout(self.lstm(signal.transpose(1, 2))[0])
        weights = torch.softmax(elish(self.score(hidden)).squeeze(-1), dim=-1)
        if not self.context:
            return hidden, weights
        context = weights.unsqueeze(1) @ hidden
        return torch.cat([context.expand(-1, hidden.shape[1], -1), hidden], dim=-1), weights

    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        gates = 4 * self.hidden * ((1 + self.hidden) + 2 * self.hidden)
        return 2 * samples * (gates + (2 if self.context else 1) * self.hidden)


class EncoderLayer(nn.Module):
    """Post-norm transformer encoder of Table 3: 8 heads, feed-forward as wide as the tokens, with ReLU.

    99,584 parameters for a width of 128.

    Reading: no positional encoding, since none is listed; the tokens carry time through convolution and recurrence.
    Dropout acts on each sub-layer's output before it is added.
    """

    def __init__(self, *, width: int = WIDTH, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.attention = MultiHeadAttention(dim=width, heads=8)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = TokenLinear(width, width)
        self.linear2 = TokenLinear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, *, with_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, S, width) -> the same shape, and the self-attention (B, S, S) where it is asked for."""
        attended, weights = self.attention(tokens, tokens, with_weights=with_weights)
        tokens = self.norm1(tokens + self.dropout(attended))
        expanded = self.linear2(torch.relu(self.linear1(tokens)))
        return self.norm2(tokens + self.dropout(expanded)), weights

    def flops(self, samples: int) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.attention.flops(samples, samples) + 2 * samples * 2 * self.width * self.width


class TransformerBlock(nn.Module):
    """Two encoders, two cross-attentions and FC1-3 of Table 3, for a pair of token sequences.

    627,072 parameters where the tokens are 128 wide, 1,744,768 where they are 256.

    The table's 49,152 per attention is the input projection's weight alone; with biases and output projection it is
    66,048, and the block has 67,584 parameters more than the printed 559,488.

    Readings: cross-attention has no residual and no norm, since neither is listed; "mean over S" stands between
    concatenation and FC1, and FC1-3 each end in ReLU.
    """

    def __init__(self, *, width: int = WIDTH, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.encoder1 = EncoderLayer(width=width, dropout=dropout)
        self.encoder2 = EncoderLayer(width=width, dropout=dropout)
        self.cross1 = MultiHeadAttention(dim=width, heads=8)
        self.cross2 = MultiHeadAttention(dim=width, heads=8)
        self.fc1 = TokenLinear(2 * width, 512)
        self.fc2 = TokenLinear(512, 256)
        self.fc3 = TokenLinear(256, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, first: Tensor, second: Tensor, *, with_weights: bool = False
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Fuse two sequences.

        Args:
            first: (B, S, width).
            second: (B, S, width).
            with_weights: Give the attention weights too.

        Returns:
            Fused tokens (B, S, 2 * width), [first looking at second; second looking at first], and the four attention
            maps (B, S, S): self1, self2, cross1 (rows first, columns second), cross2; None unless asked for.
        """
        first, self1 = self.encoder1(first, with_weights=with_weights)
        second, self2 = self.encoder2(second, with_weights=with_weights)
        fused1, cross1 = self.cross1(first, second, with_weights=with_weights)
        fused2, cross2 = self.cross2(second, first, with_weights=with_weights)
        fused = torch.cat([fused1, fused2], dim=-1)
        return fused, {"self1": self1, "self2": self2, "cross1": cross1, "cross2": cross2}

    def features(self, fused: Tensor) -> Tensor:
        """FC1-3 along the last axis: (..., 2 * width) -> (..., 128)."""
        hidden = self.dropout(torch.relu(self.fc1(fused)))
        hidden = self.dropout(torch.relu(self.fc2(hidden)))
        return torch.relu(self.fc3(hidden))

    def attribution(self, fused: Tensor, direction: Tensor) -> Tensor:
        """H * d logit / d H for the fused tokens H of a pooled block (Fig. 7), without a backward pass.

        The mean over time comes first, so that the gradient is the same at every time step: `direction` through FC3,
        FC2 and FC1 with their ReLU masks, over S. As products of matrices it can be exported.

        Args:
            fused: (B, S, 2 * width).
            direction: (B, 128), d logit / d features.

        Returns:
            (B, S, 2 * width); summed over S and channels it is the logit's part that is linear in H.
        """
        hidden1 = torch.relu(self.fc1(fused.mean(dim=1)))
        hidden2 = torch.relu(self.fc2(hidden1))
        hidden3 = torch.relu(self.fc3(hidden2))
        gradient = (direction * (hidden3 > 0).to(fused.dtype)) @ self.fc3.weight
        gradient = (gradient * (hidden2 > 0).to(fused.dtype)) @ self.fc2.weight
        gradient = (gradient * (hidden1 > 0).to(fused.dtype)) @ self.fc1.weight
        return fused * gradient.unsqueeze(1) / fused.shape[1]

    def flops(self, samples: int, *, dense: int) -> int:
        """Operations for one window of `samples` tokens a side, of which FC1-3 run on `dense`."""
        encoders = self.encoder1.flops(samples) + self.encoder2.flops(samples)
        crossed = self.cross1.flops(samples, samples) + self.cross2.flops(samples, samples)
        return encoders + crossed + dense * 2 * (2 * self.width * 512 + 512 * 256 + 256 * WIDTH)


class SignalEncoder(nn.Module):
    """FCN, ALSTM and their transformer block for one signal (the paper's FAT). 942,273 parameters in "tables".

    Reading: Fig. 2 and Eq. 18 pass the pooled 128-vector of FC3 to the next stage, where attention over one key is
    constantly 1 and the maps of Figs. 5-7 could not exist. Table 3 wants S time steps, so the same FC1-3 are applied
    to every time step and the tokens passed on are (S, 128). See `Layout` for the other readings.

    Each part is first trained alone with a temporary head (`models/crossmod_unimodal.py`), as the paper does.

    Args:
        layout: Reading of the paper.
        dropout: In all parts.
    """

    def __init__(self, *, layout: Layout = TABLES, dropout: float) -> None:
        super().__init__()
        self.layout = layout
        self.fcn = FCN(dropout=dropout)
        self.alstm = ALSTM(hidden=layout.hidden, context=layout.context, dropout=dropout)
        self.block = TransformerBlock(dropout=dropout)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S) -> tokens (B, S, 128), (B, S, 256) or (B, 1, 128), and the ALSTM's attention over time (B, S)."""
        fused, _, weights = self.fuse(signal)
        return fused if self.layout.passed == "fused" else self.block.features(fused), weights

    def fuse(self, signal: Tensor, *, with_weights: bool = False) -> tuple[Tensor, dict[str, Tensor | None], Tensor]:
        """What comes before FC1: fused tokens, the block's maps, and the attention over time.

        Args:
            signal: (B, 1, S).
            with_weights: Give the maps; else they are None.
        """
        tokens, weights = self.alstm(signal)
        features = self.fcn(signal)
        if self.layout.pooled:
            features, tokens = features.mean(dim=1, keepdim=True), tokens[:, -1:]
        fused, maps = self.block(features, tokens, with_weights=with_weights)
        return fused, maps, weights

    def flops(self, samples: int, *, dense: int | None = None) -> int:
        """Operations for one window, at 2 per multiply-accumulate.

        Args:
            samples: Points of the signal.
            dense: Tokens that FC1-3 run on; None for as many as `forward` has.
        """
        tokens = 1 if self.layout.pooled else samples
        if dense is None:
            dense = 0 if self.layout.passed == "fused" else tokens
        return self.fcn.flops(samples) + self.alstm.flops(samples) + self.block.flops(tokens, dense=dense)


def stage_head(classes: int) -> nn.Sequential:
    """The temporary head of a training stage, 128 -> 64 -> classes: not printed, but the FLOPs of Fig. 8 agree."""
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, classes))
