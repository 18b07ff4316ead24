"""PainAttnNet's family: multi-scale convolutions on raw signals joined along time, with channel gates.

After the public code of PainAttnNet (one signal) and of m-PainAttnNet (several). All members share their front and
the names of their weights, so that published state_dicts load strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes
from models.blocks.multiscale import MSCN, STEPS, init_published
from models.blocks.squeeze import SEResNet

GATED: Final = 30
"""Channels after the SE block."""


class JoinedSignals(PainModel):
    """What all members share: inputs joined along time, then `MSCN`.

    Readings: the order in which signals are joined belongs to the model (upstream EDA, ECG, EMG), and kernels that
    straddle a seam see the end of one signal and the beginning of the next, as published. Losing a signal means
    another model, never zeros in its place. Upstream feeds raw values (EDA in uS, ECG and EMG in uV); here the
    scaling is the bundle's.

    Args:
        inputs: Names of one or more inputs, each (B, 1, samples), in the order of joining.
        classes: Number of classes.
        samples: Points of each input at 512 Hz; weights fit this number only.
        dropout: In `MSCN` (upstream 0.5).

    Raises:
        ValueError: If nothing is left to classify, or the window is too short for the kernels.
    """

    def __init__(self, *, inputs: Sequence[str], classes: int, samples: int, dropout: float) -> None:
        super().__init__()
        if not inputs or len(set(inputs)) != len(inputs):
            raise ValueError(f"{self.architecture} joins one or more different signals, not {tuple(inputs)}")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        self.arguments = {"inputs": list(inputs), "classes": classes, "samples": samples, "dropout": dropout}
        self.input_names = tuple(inputs)
        self.classes = classes
        self.samples = samples
        self.mscn = MSCN(samples * len(inputs), dropout=dropout)

    def join(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Signals by name, (B, 1, samples) each -> (B, 1, inputs * samples)."""
        return torch.cat([inputs[name] for name in self.input_names], dim=-1)

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, samples) of each input: weights fit this length only."""
        return dict.fromkeys(self.input_names, (1, self.samples))


class MSCNSE(JoinedSignals):
    """m-PainAttnNet's `mscn_se`: MSCN, one SE residual block 192 -> 30, and a linear layer on all of its 2250 values.

    With two classes and 1, 2 or 3 signals of 2816 points 437,408, 442,583 or 447,758 parameters and 40.3, 78.7 or
    117.3 million multiply-accumulates.

    Quirks kept: the convolutions of the SE block have kernel 1 (see `SEResBlock`), and its gates come from
    30 // 16 = 1 hidden unit. They are therefore one pattern over channels, more or less of it, and all of them are
    exactly 0.5 whenever that unit is off: "SE inactive", which a screen should say instead of drawing flat gates.

    The accuracies published for this model near 98.6 % are equal over all of its tasks, also where the signals carry
    next to nothing; they are no target.
    """

    architecture = "mscn-se"
    paper = "Lu, Ozek, Kamarthi, PainAttnNet, 2023; m-PainAttnNet, github.com/zhenyuanlu"

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
        joined = "+".join(self.input_names)
        return (AttentionMap(name="channel.se", kind="channel", axis="channel", of=joined, by=joined, shape=(GATED,)),)

    def parity_probes(self) -> tuple[str, ...]:
        """Both layers of the gates and the first convolution of each branch."""
        ends = ("se.fc.0.weight", "se.fc.2.weight", "scale.0.weight")
        return tuple(name for name in self.state_dict() if name.endswith(ends))

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        return self.mscn.flops() + self.seresnet.flops(STEPS) + 2 * GATED * STEPS * self.classes
