"""Tiny-BioMoE (Gkikas, Kyprakis, Tsiknakis, 2025): two small encoders of biosignal images, joined by gates.

Published for six kinds of images of BVP, EDA, respiration and SpO2 (AI4Pain 2025: 41 + 12 + 12 subjects, windows of
10 s at 100 Hz, three classes). Pretrained on several tasks at once, then fine-tuned for pain.

    x = LayerNorm(image); z_e = encoder_e(x), e = 1, 2
    out = LayerNorm([LayerNorm'(z_1) * gate(z_1) ; LayerNorm'(z_2) * gate(z_2)]),  gate(z) = Hardtanh_0^1(W ELU(z) + b)

`LayerNorm'`, W and b are shared by both encoders. In: (B, 3, 224, 224), values 0..1 of red, green, blue, no mean taken
off. Out: (B, 192). Parameters 2,897,856 (SpectFormer) + 4,128,478 (EfficientViT) + 310,944 (of which 301,056 are the
image's LayerNorm) = 7,337,278, the paper's 2.90 + 4.13 M and 7.34 M in total. 1.199 + 0.340 G multiply-accumulates;
the paper's 2.36 + 0.68 "GFLOPS" are these at 2 an operation, less some (PainFormer's are at 1).

Where paper and public code differ, this is the code, which the published weights belong to:

- The gate. Paper, text: Hardtanh(ELU(W z)); paper, figure: of the normalised z. Code: ELU first, then W, on the raw z.
  The figure's further LayerNorm between gate and concatenation is not in the code.
- "Mixture of experts": both encoders always run and no router chooses; the gates weigh channels within each half.
- Encoder-1. Paper: one head a stage, a spectral and an attention layer in stages 1 and 2, patches of 16 x 16 with
  d = 768 and a positional encoding. Code: a convolutional stem, stages 1 and 2 spectral only and 3 and 4 attention
  only, one block each, 10 and 16 heads in the latter, no positional encoding.
- Encoder-2. Paper's figure: H/4, H/8, H/16. Code: 14, 7 and 4 positions a side (H/16, H/32, H/56).
- The README calls `eval()` before it loads weights. The public attention keeps a table of biases from then on, and
  embeddings are off by up to 0.24. Here nothing is kept (see `CascadedAttention`), and both orders agree.
- The README's class runs both encoders under `torch.no_grad`, by which its own fine-tuning trains the head alone.
  Here gradients reach every weight.
- The published file of 89 MB is three times the weights; whatever else it holds is not read.
- The loss of the pretraining, sum of e^w L + w over tasks (PainFormer's too), has no least value: w falls for ever.
  With e^-w L + w it has; it is not needed here.
- The paper speaks of "all 14 tasks" (there are 3), and Table 1 is titled PainFormer.
- Results: the text gives 67.13 to BVP's recurrence image, which Table has for the scalogram (47.43); a reference's
  42.17 is 42.24 in Table 7; pretraining "consistently" helps, but EDA loses by it in five images of six; every
  validation figure was picked on the 12 subjects that it is told of (82.41 there, 54.89 on the test set).
- Not given at all: how images are drawn, filters' types and orders, optimiser and weight decay.
"""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from models.blocks.backbone import IMAGE_SHAPE, BackboneMap, ImageBackbone
from models.blocks.efficientvit import EfficientViT
from models.blocks.linear import TokenLinear
from models.blocks.spectformer import SpectFormer

EXPERT: Final = 96
"""Width of either encoder's embedding."""


class TinyBioMoE(ImageBackbone):
    """Tiny-BioMoE's encoder, under the names of the published weights; no classifier.

    Both encoders begin as their public code does. Not as published: nothing; see the module's text for what the paper
    says otherwise.
    """

    embedding: ClassVar[int] = 2 * EXPERT
    paper: ClassVar[str] = "Gkikas, Kyprakis, Tsiknakis, Tiny-BioMoE, 2025; github.com/GkikasStefanos/Tiny-BioMoE"
    maps: ClassVar[tuple[BackboneMap, ...]] = tuple(
        BackboneMap(name=f"gate.{expert}", kind="gate", axis="channel", shape=(EXPERT,)) for expert in (1, 2)
    )

    def __init__(self) -> None:
        super().__init__()
        self.enc1 = SpectFormer(
            stem=32,
            dims=(64, 128, 320, EXPERT),
            depths=(1, 1, 1, 1),
            heads=(2, 4, 10, 16),
            mlp_ratios=(8, 8, 4, 4),
        )
        self.enc2 = EfficientViT(dims=(192, 288, EXPERT))
        self.ln_img = nn.LayerNorm(IMAGE_SHAPE)
        self.ln_e = nn.LayerNorm(EXPERT)
        self.ln_out = nn.LayerNorm(2 * EXPERT)
        self.fcn = nn.Sequential(nn.ELU(), TokenLinear(EXPERT, EXPERT), nn.Hardtanh(0.0, 1.0))

    def forward(self, images: Tensor, *, with_attention: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, 3, 224, 224) -> (B, 192), and where asked for `gate.1` and `gate.2`, (B, 96) each in 0..1.

        A gate of 0 takes its channel out of the embedding, and no gradient passes it; they need not sum to anything.
        """
        x = self.ln_img(images)
        experts = (self.enc1(x).embedding, self.enc2(x))
        gates = [self.fcn(z) for z in experts]
        weighed = [self.ln_e(z) * gate for z, gate in zip(experts, gates, strict=True)]
        out = self.ln_out(torch.cat(weighed, dim=-1))
        return out, {item.name: gate for item, gate in zip(self.maps, gates, strict=True)} if with_attention else {}

    def flops(self) -> int:
        """Operations for one image, at 2 per multiply-accumulate."""
        return self.enc1.flops() + self.enc2.flops() + 2 * 2 * EXPERT**2

    def parity_probes(self) -> tuple[str, ...]:
        """Spectral filters, attention, tables of biases and gates."""
        encoders = {"enc1": self.enc1, "enc2": self.enc2}
        inner = [f"{name}.{probe}" for name, encoder in encoders.items() for probe in encoder.parity_probes()]
        return (*inner, "fcn.1.weight")
