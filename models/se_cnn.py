"""SE-CNN: three convolutions with channel gates on many regions at once, for emotion from brain activity.

Seed: the public code of the ICBHI 2024 challenge entry (BMS410Wind), a Keras graph, and its paper. It classifies
emotion, not pain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes

REGIONS: Final = 246
"""Regions of the Brainnetome atlas."""
POINTS: Final = 25
"""Points in time of the published window; its repetition time is not stated."""
EBR_REGIONS: Final = (
    *(1, 10, 14, 17, 42, 43, 54, 55, 86, 87, 104, 105, 106, 107, 134, 135),
    *(140, 141, 142, 143, 150, 151, 158, 159, 182, 183, 190, 191, 194, 195, 202, 203),
)
"""The 32 emotion-related regions of variant "ebr", counted from 0 (atlas number = index + 1).

The window is normalised *after* they were chosen, so the choice is the caller's and the model takes 32 channels.
Counted from 0, 14, 86 and 87 are A9/46d and aSTS, which the paper names; the amygdala, which it names too, is not
among them.
"""
CLASS_LABELS: Final = ("happy", "normal", "sad")
"""Order of the published class task's outputs (upstream reports them as 1, 0, -1)."""
LEVEL_LABELS: Final = (0, -1, -2, -3, -4, 1, 2, 3, 4)
"""Order of the published level task's outputs."""
L2: Final = 0.01
"""Upstream adds this times the sum of squares of `SECNN.penalised` to the loss."""

Variant: TypeAlias = Literal["se", "vanilla", "ebr"]

_REDUCTION: Final = 16
# Spread that a normal distribution keeps when it is cut at two of its standard deviations, as Keras draws it.
_TRUNCATED_SPREAD: Final = 0.87962566103423978


class ChannelGate(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018) with biases: mean over time, C -> C // 16 (ReLU) -> C, sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = channels // _REDUCTION
        self.fc1 = nn.Linear(channels, self.hidden)
        self.fc2 = nn.Linear(self.hidden, channels)
        spread = math.sqrt(2.0 / channels) / _TRUNCATED_SPREAD
        nn.init.trunc_normal_(self.fc1.weight, std=spread, a=-2.0 * spread, b=2.0 * spread)
        nn.init.xavier_uniform_(self.fc2.weight)
        nn.init.zeros_(self.fc1.bias)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) -> the same, scaled, and the gates (B, C) in 0..1."""
        gates = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=-1)))))
        return x * gates.unsqueeze(-1), gates

    def flops(self) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return 2 * 2 * self.channels * self.hidden


class ConvUnit(nn.Module):
    """Convolution (kernel 3, length kept), ReLU unless it is a shortcut, gate, BatchNorm, in this order."""

    def __init__(self, inputs: int, outputs: int, *, shortcut: bool = False) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv = nn.Conv1d(inputs, outputs, 3, padding=1)
        self.gate = ChannelGate(outputs)
        # Keras' momentum of 0.99 is torch's 0.01.
        self.norm = nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01)
        if shortcut:
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            nn.init.kaiming_uniform_(self.conv.weight, nonlinearity="relu")
        nn.init.zeros_(_bias(self.conv))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T)."""
        y = self.conv(x)
        return self.norm(self.gate(y if self.shortcut else torch.relu(y))[0])

    def flops(self, points: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return 2 * points * self.conv.weight.numel() + self.gate.flops()


class SECNN(PainModel):
    """The published graph, up to the softmax.

    c regions, T = 25 points; every convolution has kernel 3, stride 1, and keeps the length:

    | step | |
    |------|---|
    | 0 | s1 = gate(input) in variant "se", s1 = input in "vanilla" and "ebr" |
    | 1 | s2 = unit(s1), c -> 32 |
    | 2 | f = unit(s2), 32 -> 64 |
    | A | f = f + shortcut(s1), c -> 64 |
    | 3 | f = unit(f), 64 -> 128 |
    | B | f = f + shortcut(s1), c -> 128 + shortcut(s2), 32 -> 128 |
    | 4 | flatten (index t * 128 + channel), 3200 -> 512 -> 100 with ReLU, -> classes |

    No pooling, no dropout, no activation after the sums. "vanilla" and "ebr" keep the gates inside the six units;
    what they lack is the gate on the raw regions. The level task is a plain softmax over nine classes, not ordinal.

    | variant | shape | 3 classes | 9 classes | million operations |
    |---------|-------|-----------|-----------|--------------------|
    | se      | (246, 25) | 1,917,070 | 1,917,676 | 13.8 |
    | vanilla | (246, 25) | 1,909,429 | 1,910,035 | 13.8 |
    | ebr     | (32, 25)  | 1,765,621 | 1,766,227 | 6.6 |

    Keras counts the running statistics (1,088 values) as parameters; `parameter_count` does not.

    Changed: nothing in the numbers of evaluation. In training torch's running variance is the unbiased one, Keras' is
    not: a 3,200th at the published batch of 128. Upstream's loss adds `L2` times the squares of `penalised`, also to
    the validation loss that picks its weights; here that is the trainer's business.

    The window is (x - min) / (max - min) with one minimum and maximum over all regions and points (`window_min` and
    `window_range` of a bundle's scale). Upstream splits by trial, not by subject, so its accuracies are no target.

    Args:
        inputs: Name of the one input, (B, 246, 25), or (B, 32, 25) of `EBR_REGIONS` for "ebr".
        variant: "se", "vanilla" or "ebr".
        classes: Number of classes; published are 3 (class task) and 9 (level task).

    Raises:
        ValueError: If there is no such variant, more than one input, or nothing to classify.
    """

    architecture = "se-cnn"
    paper = "SE-CNN on fMRI regions, ICBHI challenge 2024; github.com/BMS410Wind/ICBHI2024"

    def __init__(self, *, inputs: Sequence[str] = ("regions",), variant: Variant = "se", classes: int = 3) -> None:
        super().__init__()
        if len(inputs) != 1:
            raise ValueError(f"SE-CNN takes one input of many channels, not {tuple(inputs)}")
        if variant not in ("se", "vanilla", "ebr"):
            raise ValueError(f"no variant {variant!r}; there are se, vanilla, ebr")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        self.arguments = {"inputs": list(inputs), "variant": variant, "classes": classes}
        self.input_names = tuple(inputs)
        self.classes = classes
        self.variant = variant
        self.channels = len(EBR_REGIONS) if variant == "ebr" else REGIONS
        self.gate = ChannelGate(self.channels) if variant == "se" else None
        self.unit1 = ConvUnit(self.channels, 32)
        self.unit2 = ConvUnit(32, 64)
        self.shortcut_a = ConvUnit(self.channels, 64, shortcut=True)
        self.unit3 = ConvUnit(64, 128)
        self.shortcut_b = ConvUnit(self.channels, 128, shortcut=True)
        self.shortcut_2 = ConvUnit(32, 128, shortcut=True)
        self.dense1 = nn.Linear(128 * POINTS, 512)
        self.dense2 = nn.Linear(512, 100)
        self.dense3 = nn.Linear(100, classes)
        for layer in (self.dense1, self.dense2):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(self.dense3.weight)
        for layer in (self.dense1, self.dense2, self.dense3):
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are the second dense layer's, (B, 100)."""
        s1 = inputs[self.input_names[0]]
        attention = {}
        if self.gate is not None:
            s1, gates = self.gate(s1)
            if with_attention:
                attention["channel.regions"] = gates
        s2 = self.unit1(s1)
        f = self.unit2(s2) + self.shortcut_a(s1)
        f = self.unit3(f) + self.shortcut_b(s1) + self.shortcut_2(s2)
        hidden = torch.relu(self.dense1(f.transpose(1, 2).flatten(1)))
        features = torch.relu(self.dense2(hidden))
        return PainOutput(logits=self.dense3(features), features=features, attention=attention)

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """(246, 25) or (32, 25); the only one."""
        return {self.input_names[0]: (self.channels, POINTS)}

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """`channel.regions` of variant "se": a gate for each region, 0..1, which need not sum to 1.

        The other variants gate their own hidden channels only, which belong to no region and are not shown.
        """
        self.check_shapes(shapes)
        if self.gate is None:
            return ()
        (name,) = self.input_names
        shape = (self.channels,)
        return (AttentionMap(name="channel.regions", kind="channel", axis="channel", of=name, by=name, shape=shape),)

    def parity_probes(self) -> tuple[str, ...]:
        """Both layers of every gate."""
        return tuple(name for name in self.state_dict() if name.endswith(("fc1.weight", "fc2.weight")))

    def penalised(self) -> tuple[Tensor, ...]:
        """The weights that upstream's L2 term counts: not those of shortcuts, gates and output, and no bias."""
        layers = (self.unit1.conv, self.unit2.conv, self.unit3.conv, self.dense1, self.dense2)
        return tuple(layer.weight for layer in layers)

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        units = (self.unit1, self.unit2, self.shortcut_a, self.unit3, self.shortcut_b, self.shortcut_2)
        gate = 0 if self.gate is None else self.gate.flops()
        dense = sum(2 * layer.weight.numel() for layer in (self.dense1, self.dense2, self.dense3))
        return gate + sum(unit.flops(POINTS) for unit in units) + dense


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


_KERAS_UNITS: Final = (
    ("unit1", "conv1", "se1", "bn1"),
    ("unit2", "conv2", "se2", "bn2"),
    ("shortcut_a", "shortcut_a", "se_a", "bn_a"),
    ("unit3", "conv3", "se3", "bn3"),
    ("shortcut_2", "shortcut_2", "se_2", "bn_2"),
    ("shortcut_b", "shortcut_b", "se_b", "bn_b"),
)
_KERAS_NORM: Final = (
    ("weight", "gamma"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
)


def keras_entries(variant: Variant) -> dict[str, str]:
    """The names of a model's entries in Keras' layout, by our own, in Keras' order.

    What torch keeps and Keras has not is left out: `num_batches_tracked`, to be set to 0.

    Args:
        variant: "se", "vanilla" or "ebr".
    """

    def layer(ours: str, theirs: str) -> dict[str, str]:
        return {f"{ours}.weight": f"{theirs}.kernel", f"{ours}.bias": f"{theirs}.bias"}

    def gate(ours: str, theirs: str) -> dict[str, str]:
        return layer(f"{ours}.fc1", f"{theirs}.fc1") | layer(f"{ours}.fc2", f"{theirs}.fc2")

    entries = gate("gate", "se_in") if variant == "se" else {}
    for unit, conv, se, norm in _KERAS_UNITS:
        entries |= layer(f"{unit}.conv", conv) | gate(f"{unit}.gate", se)
        entries |= {f"{unit}.norm.{ours}": f"{norm}.{theirs}" for ours, theirs in _KERAS_NORM}
    for dense in ("dense1", "dense2", "dense3"):
        entries |= layer(dense, dense)
    return entries


def from_keras(value: Tensor) -> Tensor:
    """An entry of Keras' layout in torch's.

    Kernels (3, in, out) of convolutions and (in, out) of dense layers have their axes reversed, vectors are as they
    are.
    """
    return value.permute(*reversed(range(value.ndim))).contiguous()
