"""PainFormer (Gkikas, Fernandez Rojas, Tsiknakis, 2025): one encoder for faces and biosignals, 160 numbers an image.

Trained by its authors on 14 tasks at once, then frozen; heads that are trained for pain read its embeddings. A
SpectFormer of 3 + 4 blocks of spectral gates and 12 + 3 blocks of attention. In: (B, 3, 224, 224), red, green and
blue less (0.6068, 0.4517, 0.3800), over (0.2492, 0.2173, 0.2082), as the README states. Out: (B, 160). 19,596,704
parameters, the paper's 19.60 M; 6.085 G multiply-accumulates, of which 5.815 G are the paper's "5.82 GFLOPS":
multiply-accumulates, without the products of attention.

Where paper and public code differ, this is the code, which the published weights belong to:

- Table II has one block of attention after two spectral ones in stage 1, and two after two in stage 2. Code: 3 and 4
  spectral ones, no attention; the heads 2 and 4 of these stages are used by nothing. The count agrees with the code.
- Patches of 16 x 16 with d = 768 and a positional embedding: code has a convolutional stem and neither of the two.
- Each stage is halved at its start, not at its end.
- Every MLP but the class block's has the depthwise convolution ("MLP-2" is said to have none).
- LayerNorm comes before the Fourier transform only, not also after its inverse.
- The class block is not in the paper.
- The README takes `model(x)` for the embedding; the public code gives it with tokens and maps, as `encode` does here.
- The loss over tasks, sum of e^w L + w, has no least value: w falls for ever. It would be e^-w L + w.
- All 30 accuracies at 200 and 300 epochs are multiples of 1/1200 and 22 of them not of 1/3480: they come from 30
  subjects, not from BioVid's 87.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from torch import Tensor

from models.blocks.backbone import BackboneMap, ImageBackbone
from models.blocks.spectformer import Encoding, SpectFormer

ROLLOUT_SIDE: Final = 14
_DEPTHS: Final = (3, 4, 12, 3)


class PainFormer(SpectFormer, ImageBackbone):
    """PainFormer's encoder, under the names of the published weights; no classifier.

    Args:
        drop_path: See `SpectFormer`; 0 in the public code.
    """

    embedding: ClassVar[int] = 160
    paper: ClassVar[str] = "Gkikas, Fernandez Rojas, Tsiknakis, PainFormer, 2025; github.com/GkikasStefanos/PainFormer"
    maps: ClassVar[tuple[BackboneMap, ...]] = (
        BackboneMap(name="rollout", kind="rollout", axis="image", shape=(ROLLOUT_SIDE, ROLLOUT_SIDE)),
    )
    mean: ClassVar[tuple[float, float, float]] = (0.6068, 0.4517, 0.3800)
    std: ClassVar[tuple[float, float, float]] = (0.2492, 0.2173, 0.2082)

    def __init__(self, *, drop_path: float = 0.0) -> None:
        super().__init__(
            stem=64,
            dims=(64, 128, 320, self.embedding),
            depths=_DEPTHS,
            heads=(2, 4, 10, 16),
            mlp_ratios=(8, 8, 4, 4),
            drop_path=drop_path,
        )

    def forward(  # type: ignore[override]
        self, images: Tensor, *, with_attention: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, 3, 224, 224) -> (B, 160), and where asked for `rollout`, (B, 14, 14), see the function of that name."""
        encoding = self.encode(images, with_maps=with_attention)
        if encoding.class_map is None:
            return encoding.embedding, {}
        fine = encoding.maps[: _DEPTHS[2]]
        coarse = encoding.maps[_DEPTHS[2] :]
        return encoding.embedding, {"rollout": rollout(fine, coarse, encoding.class_map)}

    def encode(self, images: Tensor, *, with_maps: bool = True) -> Encoding:
        """What the public code's `forward` returns: embedding, tokens after stage 4, and the 15 attention maps.

        Args:
            images: (B, 3, 224, 224).
            with_maps: Give the 12 maps (B, 10, 196, 196) of stage 3 and the 3 maps (B, 16, 49, 49) of stage 4.
        """
        return SpectFormer.forward(self, images, with_maps=with_maps)


def rollout(fine: Sequence[Tensor], coarse: Sequence[Tensor], class_map: Tensor) -> Tensor:
    """How much the embedding owes to each place of the image, by attention alone (roll-out; Abnar, Zuidema, 2020).

    The paper shows maps without a definition; this is our reading. The row of the class block is carried back through
    the blocks: through each as 0.5 (A + I), A the mean over heads, for the residual that passes the attention by. A
    token of stage 4 stands for the 2 x 2 tokens of stage 3 below it. The class token starts as the mean of the tokens,
    so what it gives to itself is theirs in equal parts. MLPs, norms and the size of values are left out, and so are
    the stages without attention: it is where attention looked, not what the decision rests on.

    Args:
        fine: Attention of the blocks of the finer stage in their order, (B, heads, 4 N, 4 N), rows summing to 1.
        coarse: Of those of the coarser stage, (B, heads, N, N).
        class_map: (B, heads, 1, 1 + N), the class token looking at itself and at the tokens.

    Returns:
        (B, S, S), S * S = 4 N; non-negative, summing to 1.
    """
    row = class_map.mean(dim=1)
    tokens = row.shape[-1] - 1
    row = row[..., 1:] + row[..., :1] / tokens
    for weights in reversed(coarse):
        row = _back(row, weights)
    side = round(tokens**0.5)
    # Each of the four takes a quarter, so that the sum stays 1.
    row = (0.25 * row.reshape(-1, side, 1, side, 1)).expand(-1, -1, 2, -1, 2).reshape(-1, 1, 4 * tokens)
    for weights in reversed(fine):
        row = _back(row, weights)
    # Rows of softmax sum to 1 but for rounding, and so does this; twelve blocks' rounding is taken out here.
    return (row / row.sum(dim=-1, keepdim=True)).reshape(-1, 2 * side, 2 * side)


def _back(row: Tensor, weights: Tensor) -> Tensor:
    # (B, 1, N) times 0.5 (A + I). A row through each head, then their mean, is far less than the mean of the maps.
    return 0.5 * (row + (row.unsqueeze(1) @ weights).mean(dim=1))
