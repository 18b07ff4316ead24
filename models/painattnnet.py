"""PainAttnNet's family: multi-scale convolutions on raw signals joined along time, channel gates, causal attention.

After the public code of PainAttnNet (Lu, Ozek, Kamarthi, 2023; one signal) and of m-PainAttnNet (several), which is
also where the layers below are numbered from; the paper's own text of the front differs from the code, as its authors
say. All members share their front and the names of their weights, so that published state_dicts load strictly.

| architecture  | upstream's mode | after `MSCN` (192 x 75)                     | parameters, 2 classes, 1/2/3 signals |
|---------------|-----------------|---------------------------------------------|--------------------------------------|
| `mscn`        | mscn            | Linear(14400)                               | 448,988 / 454,163 / 459,338          |
| `mscn-se`     | mscn_se         | SE block, Linear(2250)                      | 437,408 / 442,583 / 447,758          |
| `mscn-tran`   | mscn_tran       | encoder on 192 channels, Linear(14400)      | 3,887,000 / 3,892,175 / 3,897,350    |
| `painattnnet` | full, early     | SE block, encoder on 30 channels, Linear(2250) | 558,308 / 563,483 / 568,658       |

Million multiply-accumulates: 39.4 / 77.8 / 116.4; 40.3 / 78.7 / 117.3; 323.5 / 362.0 / 400.5; 48.7 / 87.1 / 125.7.
Fusion of whole encoders is in `models/painattnnet_fusion.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes
from models.blocks.causal_encoder import DEAD, LAYERS, CausalEncoder
from models.blocks.multiscale import BRANCH_NAMES, MSCN, STEPS, init_published
from models.blocks.squeeze import SEResNet

GATED: Final = 30
"""Channels after the SE block."""
HEADS: Final = 5
"""Of the encoder on 30 channels. The project page says 6, which do not divide 30."""
HEADS_UNGATED: Final = 6
"""Of the encoder on 192 channels."""
FIRST: Final = tuple(f"mscn.{name}_scale.0.weight" for name in BRANCH_NAMES)
"""The first convolution of each branch."""
GATES: Final = tuple(f"seresnet.layer.0.se.fc.{layer}.weight" for layer in (0, 2))
"""Both layers of the gates."""
PAPER: Final = "Lu, Ozek, Kamarthi, PainAttnNet, 2023; m-PainAttnNet, github.com/zhenyuanlu"


class RawSignals(PainModel):
    """What all members share: one or more raw signals of one length.

    Args:
        inputs: Names of one or more inputs, each (B, 1, samples), in the order of joining.
        classes: Number of classes; 2 in all published runs.
        samples: Points of each input at 512 Hz; weights fit this number only.
        dropouts: Arguments of the member's own.

    Raises:
        ValueError: If nothing is left to classify, or the signals are none or the same.
    """

    paper = PAPER

    def __init__(self, *, inputs: Sequence[str], classes: int, samples: int, **dropouts: float) -> None:
        super().__init__()
        if not inputs or len(set(inputs)) != len(inputs):
            raise ValueError(f"{self.architecture} joins one or more different signals, not {tuple(inputs)}")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        self.arguments = {"inputs": list(inputs), "classes": classes, "samples": samples, **dropouts}
        self.input_names = tuple(inputs)
        self.classes = classes
        self.samples = samples

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, samples) of each input: weights fit this length only."""
        return dict.fromkeys(self.input_names, (1, self.samples))

    def dead_entries(self) -> tuple[str, ...]:
        """Entries of the state_dict that upstream has too, and that reach no output."""
        return ()


class JoinedSignals(RawSignals):
    """What the members in this file share: inputs joined along time, then `MSCN`.

    Readings: the order in which signals are joined belongs to the model (upstream EDA, ECG, EMG), and kernels that
    straddle a seam see the end of one signal and the beginning of the next, as published. Losing a signal means
    another model, never zeros in its place. Upstream feeds raw values (EDA in uS, ECG and EMG in uV); here the
    scaling is the bundle's.

    Args:
        inputs: See `RawSignals`.
        classes: See `RawSignals`.
        samples: See `RawSignals`.
        dropout: In `MSCN` (upstream 0.5).
        dropouts: Further arguments of the member's own.

    Raises:
        ValueError: See `RawSignals`; or if the window is too short for the kernels.
    """

    def __init__(self, *, inputs: Sequence[str], classes: int, samples: int, dropout: float, **dropouts: float) -> None:
        super().__init__(inputs=inputs, classes=classes, samples=samples, dropout=dropout, **dropouts)
        self.mscn = MSCN(samples * len(inputs), dropout=dropout)

    def join(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Signals by name, (B, 1, samples) each -> (B, 1, inputs * samples)."""
        return torch.cat([inputs[name] for name in self.input_names], dim=-1)

    @property
    def joined(self) -> str:
        """What maps are of: all inputs together, e.g. `eda+ecg`."""
        return "+".join(self.input_names)


class MSCNOnly(JoinedSignals):
    """m-PainAttnNet's `mscn`: MSCN and one linear layer on all of its 14,400 values. It has no attention to show."""

    architecture = "mscn"

    def __init__(
        self, *, inputs: Sequence[str] = ("eda",), classes: int = 3, samples: int = 2816, dropout: float = 0.5
    ) -> None:
        super().__init__(inputs=inputs, classes=classes, samples=samples, dropout=dropout)
        self.fc = nn.Linear(MSCN.OUTPUTS * STEPS, classes)
        self.apply(init_published)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:  # noqa: ARG002
        """Classify a batch; the features are those of `MSCN`, (B, 14400), channel after channel."""
        features = self.mscn(self.join(inputs)).flatten(1)
        return PainOutput(logits=self.fc(features), features=features)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """None."""
        self.check_shapes(shapes)
        return ()

    def parity_probes(self) -> tuple[str, ...]:
        """The first convolution of each branch: there is nothing that steers."""
        return FIRST

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        return self.mscn.flops() + 2 * MSCN.OUTPUTS * STEPS * self.classes


class MSCNSE(JoinedSignals):
    """m-PainAttnNet's `mscn_se`: MSCN, one SE residual block 192 -> 30, and a linear layer on all of its 2250 values.

    Quirks kept: the convolutions of the SE block have kernel 1 (see `SEResBlock`), and its gates come from
    30 // 16 = 1 hidden unit. They are therefore one pattern over channels, more or less of it, and all of them are
    exactly 0.5 whenever that unit is off: "SE inactive", which a screen should say instead of drawing flat gates.

    The accuracies published for this model near 98.6 % are equal over all of its tasks, also where the signals carry
    next to nothing; they are no target.
    """

    architecture = "mscn-se"

    def __init__(
        self, *, inputs: Sequence[str] = ("eda",), classes: int = 3, samples: int = 2816, dropout: float = 0.5
    ) -> None:
        super().__init__(inputs=inputs, classes=classes, samples=samples, dropout=dropout)
        self.seresnet = SEResNet(MSCN.OUTPUTS, GATED)
        self.fc = nn.Linear(GATED * STEPS, classes)
        self.apply(init_published)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are the gated block's values, (B, 2250), channel after channel."""
        gated, gates = self.seresnet(self.mscn(self.join(inputs)))
        features = gated.flatten(1)
        attention = {"channel.se": gates} if with_attention else {}
        return PainOutput(logits=self.fc(features), features=features, attention=attention)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """`channel.se`: the 30 gates, 0..1; they need not sum to 1 and belong to all inputs together."""
        self.check_shapes(shapes)
        return (gate_map("channel.se", self.joined),)

    def parity_probes(self) -> tuple[str, ...]:
        """Both layers of the gates and the first convolution of each branch."""
        return (*GATES, *FIRST)

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        return self.mscn.flops() + self.seresnet.flops(STEPS) + 2 * GATED * STEPS * self.classes


class MSCNTran(JoinedSignals):
    """m-PainAttnNet's `mscn_tran`: MSCN, `CausalEncoder` on its 192 channels with 6 heads, a linear layer on 14,400.

    Its authors name it and have not evaluated it.
    """

    architecture = "mscn-tran"

    def __init__(
        self,
        *,
        inputs: Sequence[str] = ("eda",),
        classes: int = 3,
        samples: int = 2816,
        dropout: float = 0.5,
        encoder_dropout: float = 0.1,
    ) -> None:
        super().__init__(
            inputs=inputs, classes=classes, samples=samples, dropout=dropout, encoder_dropout=encoder_dropout
        )
        self.encoderWrapper = CausalEncoder(MSCN.OUTPUTS, STEPS, heads=HEADS_UNGATED, dropout=encoder_dropout)
        self.fc = nn.Linear(MSCN.OUTPUTS * STEPS, classes)
        self.apply(init_published)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are the encoder's values, (B, 14400), channel after channel."""
        encoded, _, weights = self.encoderWrapper(self.mscn(self.join(inputs)), with_weights=with_attention)
        features = encoded.flatten(1)
        return PainOutput(logits=self.fc(features), features=features, attention=self_attention(weights))

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """`self.0` and `self.1`: each layer's weights over the 75 steps, mean over 6 heads; rows sum to 1."""
        self.check_shapes(shapes)
        return self_maps(self.joined)

    def parity_probes(self) -> tuple[str, ...]:
        """What makes queries and keys of each layer, and the first convolution of each branch."""
        return (*self.encoderWrapper.parity_probes("encoderWrapper."), *FIRST)

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        return self.mscn.flops() + self.encoderWrapper.flops() + 2 * MSCN.OUTPUTS * STEPS * self.classes

    def dead_entries(self) -> tuple[str, ...]:
        """Of the encoder's unused norms."""
        return DEAD


class PainAttnNet(JoinedSignals):
    """PainAttnNet ("full"; with several signals, joined along time, m-PainAttnNet's early fusion).

    MSCN, SE residual block 192 -> 30, `CausalEncoder` with 5 heads of 6, a linear layer on all of its 2250 values.
    The quirks kept are those of `SEResBlock` and `CausalEncoderLayer`. The 75 steps that attention runs over are
    mixtures of the whole window (see `MSCN`), not times.

    Published for one signal, EDA, no pain against T4, leave one subject out: accuracy 85.56 %, of the epoch that did
    best on the subject left out. m-PainAttnNet's 96.8-97.9 % for three signals are equal over all of its tasks, also
    where the signals carry next to nothing; they are no target.
    """

    architecture = "painattnnet"

    def __init__(
        self,
        *,
        inputs: Sequence[str] = ("eda",),
        classes: int = 3,
        samples: int = 2816,
        dropout: float = 0.5,
        encoder_dropout: float = 0.1,
    ) -> None:
        super().__init__(
            inputs=inputs, classes=classes, samples=samples, dropout=dropout, encoder_dropout=encoder_dropout
        )
        self.seresnet = SEResNet(MSCN.OUTPUTS, GATED)
        self.encoderWrapper = CausalEncoder(GATED, STEPS, heads=HEADS, dropout=encoder_dropout)
        self.fc = nn.Linear(GATED * STEPS, classes)
        self.apply(init_published)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are the encoder's values, (B, 2250), channel after channel."""
        gated, gates = self.seresnet(self.mscn(self.join(inputs)))
        encoded, _, weights = self.encoderWrapper(gated, with_weights=with_attention)
        features = encoded.flatten(1)
        attention = {"channel.se": gates, **self_attention(weights)} if with_attention else {}
        return PainOutput(logits=self.fc(features), features=features, attention=attention)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """`channel.se` as of `MSCNSE`; `self.0` and `self.1` as of `MSCNTran`, mean over 5 heads."""
        self.check_shapes(shapes)
        return (gate_map("channel.se", self.joined), *self_maps(self.joined))

    def parity_probes(self) -> tuple[str, ...]:
        """What makes queries and keys of each layer, both layers of the gates, the first convolutions."""
        return (*self.encoderWrapper.parity_probes("encoderWrapper."), *GATES, *FIRST)

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        inner = self.seresnet.flops(STEPS) + self.encoderWrapper.flops()
        return self.mscn.flops() + inner + 2 * GATED * STEPS * self.classes

    def dead_entries(self) -> tuple[str, ...]:
        """Of the encoder's unused norms."""
        return DEAD


def self_attention(weights: Sequence[Tensor], suffix: str = "") -> dict[str, Tensor]:
    """The weights of an encoder's layers by the names of their maps."""
    return {f"self.{layer}{suffix}": values for layer, values in enumerate(weights)}


def self_maps(of: str, suffix: str = "") -> tuple[AttentionMap, ...]:
    """What `self_attention` gives: axes are steps, no times."""
    return tuple(
        AttentionMap(name=f"self.{layer}{suffix}", kind="self", axis="token", of=of, by=of, shape=(STEPS, STEPS))
        for layer in range(LAYERS)
    )


def gate_map(name: str, of: str) -> AttentionMap:
    """The gates of one SE block."""
    return AttentionMap(name=name, kind="channel", axis="channel", of=of, by=of, shape=(GATED,))
