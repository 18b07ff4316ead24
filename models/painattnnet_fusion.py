"""PainAttnNet on several signals, one whole encoder each, weighted by constants (late) or by content (attention).

Late fusion is the public code of m-PainAttnNet, `PainAttnNet_Multimodal(fusion="late")`. Attention fusion is promised
on that project's page and is not in its code: the reading here is ours, see `PainAttnNetAttention`.

| architecture            | parameters, 2 classes, 2/3 signals | million multiply-accumulates |
|-------------------------|------------------------------------|------------------------------|
| `painattnnet-late`      | 1,121,120 / 1,679,429              | 97.3 / 146.0                 |
| `painattnnet-attention` | 1,113,044 / 1,666,850              | 97.3 / 146.0                 |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.base import AttentionMap, PainOutput, Shapes
from models.blocks.causal_encoder import DEAD, CausalEncoder
from models.blocks.multiscale import MSCN, STEPS, init_published
from models.blocks.squeeze import SEResNet
from models.painattnnet import FIRST, GATED, GATES, HEADS, RawSignals, gate_map, self_attention, self_maps


class SignalEncoder(nn.Module):
    """All of `PainAttnNet` but its last layer, for one signal.

    Args:
        samples: Points of the signal.
        dropout: In `MSCN`.
        encoder_dropout: In `CausalEncoder`.
    """

    def __init__(self, samples: int, *, dropout: float, encoder_dropout: float) -> None:
        super().__init__()
        self.mscn = MSCN(samples, dropout=dropout)
        self.seresnet = SEResNet(MSCN.OUTPUTS, GATED)
        self.encoderWrapper = CausalEncoder(GATED, STEPS, heads=HEADS, dropout=encoder_dropout)

    def forward(self, x: Tensor, *, name: str, with_attention: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Encode one signal.

        Args:
            x: (B, 1, samples).
            name: Of the input, for the names of its maps.
            with_attention: Give the maps too.

        Returns:
            The encoding (B, 30, 75); the same before its last norm; and the maps by name, empty unless asked for.
        """
        gated, gates = self.seresnet(self.mscn(x))
        encoded, raw, weights = self.encoderWrapper(gated, with_weights=with_attention)
        if not with_attention:
            return encoded, raw, {}
        return encoded, raw, {f"channel.se.{name}": gates, **self_attention(weights, f".{name}")}

    def flops(self) -> int:
        """Operations for one signal, at 2 per multiply-accumulate."""
        return self.mscn.flops() + self.seresnet.flops(STEPS) + self.encoderWrapper.flops()


def _probes(name: str, encoders: nn.ModuleList) -> tuple[str, ...]:
    return tuple(
        f"{name}.{number}.{probe}"
        for number, encoder in enumerate(encoders)
        for probe in (*encoder.encoderWrapper.parity_probes("encoderWrapper."), *GATES, *FIRST)
    )


def _encoder_maps(name: str) -> tuple[AttentionMap, ...]:
    return (gate_map(f"channel.se.{name}", name), *self_maps(name, f".{name}"))


class PainAttnNetLate(RawSignals):
    """m-PainAttnNet's late fusion: encodings times one number each, summed, and a linear layer on all 2250 values.

    The numbers are free parameters, first 1: neither positive nor summing to 1, and the same for every window, so
    they are no attention. Every encoder brings a last layer of its own that upstream never calls
    (`model_list.*.fc`): kept, counted and loaded, without effect (`dead_entries`).

    Upstream cuts one joined input into equal parts; here every signal comes by its name, in the order of `inputs`.
    """

    architecture = "painattnnet-late"

    def __init__(
        self,
        *,
        inputs: Sequence[str] = ("eda", "ecg"),
        classes: int = 3,
        samples: int = 2816,
        dropout: float = 0.5,
        encoder_dropout: float = 0.1,
    ) -> None:
        super().__init__(
            inputs=inputs, classes=classes, samples=samples, dropout=dropout, encoder_dropout=encoder_dropout
        )
        self.weights = nn.Parameter(torch.ones(len(inputs)))
        self.model_list = nn.ModuleList()
        for _ in inputs:
            encoder = SignalEncoder(samples, dropout=dropout, encoder_dropout=encoder_dropout)
            encoder.fc = nn.Linear(GATED * STEPS, classes)
            self.model_list.append(encoder)
        self.fc = nn.Linear(GATED * STEPS, classes)
        self.apply(init_published)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; the features are the weighted sum, (B, 2250), channel after channel."""
        attention: dict[str, Tensor] = {}
        parts = []
        for name, weight, encoder in zip(self.input_names, self.weights, self.model_list, strict=True):
            encoded, _, maps = encoder(inputs[name], name=name, with_attention=with_attention)
            parts.append(encoded.flatten(1) * weight)
            attention |= maps
        features = torch.stack(parts).sum(dim=0)
        return PainOutput(logits=self.fc(features), features=features, attention=attention)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """Of each input NAME: `channel.se.NAME`, `self.0.NAME` and `self.1.NAME`, as of `PainAttnNet`."""
        self.check_shapes(shapes)
        return tuple(item for name in self.input_names for item in _encoder_maps(name))

    def parity_probes(self) -> tuple[str, ...]:
        """The numbers of the fusion, and of every encoder what `PainAttnNet` names."""
        return ("weights", *_probes("model_list", self.model_list))

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        return sum(encoder.flops() for encoder in self.model_list) + 2 * GATED * STEPS * self.classes

    def dead_entries(self) -> tuple[str, ...]:
        """Of every encoder its unused norms and its unused last layer."""
        of_each = (*DEAD, "fc.weight", "fc.bias")
        return tuple(f"model_list.{number}.{entry}" for number in range(len(self.input_names)) for entry in of_each)


class ModalityAttention(nn.Module):
    """Weights over modalities from what each of them holds: w = softmax_i(v . tanh(W u_i)).

    Args:
        channels: Width of u.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, channels, bias=False)
        self.score = nn.Linear(channels, 1, bias=False)

    def forward(self, summaries: Tensor, present: Tensor | None = None) -> Tensor:
        """Summaries (B, m, channels), and which of them count, (B, m) bool or all -> weights (B, m), each row 1."""
        scores = self.score(torch.tanh(self.proj(summaries))).squeeze(-1)
        if present is not None:
            scores = scores.masked_fill(~present, -torch.inf)
        return torch.softmax(scores, dim=-1)

    def flops(self, modalities: int) -> int:
        """Operations for one example, at 2 per multiply-accumulate."""
        return 2 * modalities * (self.proj.weight.numel() + self.score.weight.numel())


class PainAttnNetAttention(RawSignals):
    """PainAttnNet with attention over modalities: one encoder each, weights that depend on the window.

    u_i = mean over steps of encoder i (30), w = softmax_i(v . tanh(W u_i)) with W 30 x 30, sum_i w_i encoding_i, and
    a linear layer on all of its 2250 values. The page that promises this fusion gives no equation: this is a reading.

    Part of the reading: u is taken *before* the encoder's last LayerNorm. That norm runs along time, so that the mean
    over time of its output is nearly the same number for every window (exactly so at first weights), and weights
    made of it could not depend on the window.

    A modality can be missing: its weight is then exactly 0, whatever stands in its place, and the others share 1
    (`forward`'s `present`). So that the others can carry it, in training every modality of every window is masked
    with probability `channel_dropout`, never all of a window.

    The weights say what the sum is made of. They are no share of the evidence: an encoding of small weight can
    still decide.
    """

    architecture = "painattnnet-attention"

    def __init__(
        self,
        *,
        inputs: Sequence[str] = ("eda", "ecg"),
        classes: int = 3,
        samples: int = 2816,
        dropout: float = 0.5,
        encoder_dropout: float = 0.1,
        channel_dropout: float = 0.1,
    ) -> None:
        super().__init__(
            inputs=inputs,
            classes=classes,
            samples=samples,
            dropout=dropout,
            encoder_dropout=encoder_dropout,
            channel_dropout=channel_dropout,
        )
        self.channel_dropout = channel_dropout
        self.encoders = nn.ModuleList(
            SignalEncoder(samples, dropout=dropout, encoder_dropout=encoder_dropout) for _ in inputs
        )
        self.modality = ModalityAttention(GATED)
        self.fc = nn.Linear(GATED * STEPS, classes)
        self.apply(init_published)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        *,
        with_attention: bool = False,
        present: Mapping[str, Tensor] | None = None,
    ) -> PainOutput:
        """Classify a batch.

        Args:
            inputs: By input name, (B, 1, samples); of a missing modality anything, finite or not.
            with_attention: Give the maps too.
            present: By input name, (B,) bool: where it is there. Inputs that it does not name are; None for all of
                them, as in exported graphs.

        Returns:
            The features are the weighted sum, (B, 2250), channel after channel.

        Raises:
            ValueError: If `present` names an input that does not exist, or leaves a window without any.
        """
        maps: dict[str, Tensor] = {}
        encodings, summaries = [], []
        for name, encoder in zip(self.input_names, self.encoders, strict=True):
            encoded, raw, found = encoder(inputs[name], name=name, with_attention=with_attention)
            encodings.append(encoded.flatten(1))
            summaries.append(raw.mean(dim=-1))
            maps |= found
        encoded, summary = torch.stack(encodings, dim=1), torch.stack(summaries, dim=1)
        there = self._there(present, encoded)
        if there is not None:
            # What is masked may be no number, and 0 times that is none either.
            encoded = encoded.masked_fill(~there.unsqueeze(-1), 0.0)
            summary = summary.masked_fill(~there.unsqueeze(-1), 0.0)
        weights = self.modality(summary, there)
        features = (weights.unsqueeze(-1) * encoded).sum(dim=1)
        attention = {"modality": weights, **maps} if with_attention else {}
        return PainOutput(logits=self.fc(features), features=features, attention=attention)

    def _there(self, present: Mapping[str, Tensor] | None, like: Tensor) -> Tensor | None:
        """(B, m) bool, which modalities count; None for all."""
        there = None
        if present is not None:
            if unknown := present.keys() - set(self.input_names):
                raise ValueError(f"{self.architecture} has no input {min(unknown)}")
            everywhere = like.new_ones(len(like), dtype=torch.bool)
            there = torch.stack([present.get(name, everywhere) for name in self.input_names], dim=1)
            if not there.any(dim=1).all():
                raise ValueError("a window has no modality left")
        if self.training and self.channel_dropout > 0:
            before = like.new_ones(like.shape[:2], dtype=torch.bool) if there is None else there
            kept = before & (torch.rand(like.shape[:2], device=like.device) >= self.channel_dropout)
            there = torch.where(kept.any(dim=1, keepdim=True), kept, before)
        return there

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """`modality`, the weights in the order of `inputs`; then of each input what `PainAttnNetLate` has."""
        self.check_shapes(shapes)
        of = "+".join(self.input_names)
        count = len(self.input_names)
        modality = AttentionMap(name="modality", kind="modality", axis="modality", of=of, by=of, shape=(count,))
        return (modality, *(item for name in self.input_names for item in _encoder_maps(name)))

    def parity_probes(self) -> tuple[str, ...]:
        """Both tensors of the fusion, and of every encoder what `PainAttnNet` names."""
        fusion = ("modality.proj.weight", "modality.score.weight")
        return (*fusion, *_probes("encoders", self.encoders))

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        encoders = sum(encoder.flops() for encoder in self.encoders)
        return encoders + self.modality.flops(len(self.input_names)) + 2 * GATED * STEPS * self.classes

    def dead_entries(self) -> tuple[str, ...]:
        """Of every encoder its unused norms."""
        return tuple(f"encoders.{number}.{entry}" for number in range(len(self.input_names)) for entry in DEAD)
