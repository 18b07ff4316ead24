"""PainFormer's two heads on embeddings, the Video-Encoder and the Embedding-Mixer: Perceivers, in parts.

Their code was never published. The paper shows asymmetric cross-attention of a latent array, feed-forwards "FC,
GEGLU, FC", pre-norm and residuals, and states 256 latents, outputs of 40 and 512, parameters and FLOPs. Both are
readings [inferred]; each class says which of the printed numbers its reading meets.

The frequencies of the position features are not printed either: 6 bands from 1 to 5, the example of the Perceiver
code whose defaults explain the Video-Encoder. The residual arrows that the figure draws around whole groups are
taken as the ones within each block.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from models.blocks.perceiver import Perceiver

EMBEDDING: Final = 160
"""Width of PainFormer's embedding of a frame or an image."""
FRAMES: Final = 138
"""Frames of the published video: 5.5 s at 25 Hz."""
VIDEO_FEATURES: Final = 40
"""What the Video-Encoder gives."""
MIXED: Final = 512
"""What the Embedding-Mixer gives."""


class VideoEncoder(nn.Module):
    """Video-Encoder: the embeddings of 138 frames, end to end as 22,080 scalars, to 40 features.

    3,372,868 parameters, the paper's 3.37 M: latents 256 x 512 (131,072); cross-attention, one head of 64, from 512
    to 14 channels, a scalar and 13 position features (latents' norm 1,024, tokens' norm 28, query 32,768, key and
    value 1,792, output 33,280); feed-forward 512 -> 4096, GEGLU, 2048 -> 512 (norm 1,024, then 2,101,248 and
    1,049,088); mean over latents, norm (1,024), Linear to 40 (20,520). Depth 1, no self-attention.

    Linear layers alone cost 0.862 thousand million multiply-accumulates, the paper's "0.86 GFLOPS"; with the two
    products of the attention it is 1.585. `flops` counts all of it, at 2 each: 3.17 thousand million.

    Args:
        channels: Of a frame's embedding.
        frames: Number of frames; weights take other numbers too, the position features follow.
    """

    def __init__(self, *, channels: int = EMBEDDING, frames: int = FRAMES) -> None:
        super().__init__()
        self.channels = channels
        self.frames = frames
        self.perceiver = Perceiver(channels=1, tokens=channels * frames)
        self.out = nn.Linear(self.perceiver.width, VIDEO_FEATURES)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, channels, frames) -> (B, 40). The scalars are read frame after frame."""
        scalars = embeddings.transpose(1, 2).flatten(1)
        return self.out(self.perceiver(scalars.unsqueeze(-1)))

    def flops(self) -> int:
        """Operations for one window, at 2 per multiply-accumulate, attention included."""
        return self.perceiver.flops() + 2 * self.perceiver.width * VIDEO_FEATURES

    def parity_probes(self) -> tuple[str, ...]:
        """The weights of the query and the key."""
        return tuple(f"perceiver.{name}" for name in self.perceiver.probes())


class EmbeddingMixer(nn.Module):
    """Embedding-Mixer: one or more embeddings as tokens to 512 features.

    Twice [cross-attention of one head, feed-forward; self-attention of 8 heads, feed-forward; the same again], on 256
    latents of 512; heads of 64, GEGLU with hidden width 512 (factor 1); mean over latents and norm.

    **Does not meet the printed counts.** With tokens of 160: 9,245,620 parameters and 2.32 thousand million
    multiply-accumulates in linear layers (2.58 with the attention's products; `flops` counts those, at 2 each); the
    paper has 9.85 M and "2.94 GFLOPS". A search over width, head size, feed-forward factor, sharing, depth and input
    shape found no natural configuration with both. This is the nearest that keeps what is stated: 256 latents, output
    512, GEGLU, and the order of blocks.

    Reading: the tokens are the embeddings of the chosen images (or one fused embedding). With a single token its
    cross-attention has no choice and adds the same vector to every latent.

    Args:
        channels: Of a token.
        tokens: Number of tokens.
    """

    def __init__(self, *, channels: int = EMBEDDING, tokens: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.perceiver = Perceiver(channels=channels, tokens=tokens, width=MIXED, depth=2, selfs=2, factor=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, tokens, channels) -> (B, 512)."""
        return self.perceiver(tokens)

    def flops(self) -> int:
        """Operations for one window, at 2 per multiply-accumulate, attention included."""
        return self.perceiver.flops()

    def parity_probes(self) -> tuple[str, ...]:
        """The weights of every query and key that can change anything."""
        return tuple(f"perceiver.{name}" for name in self.perceiver.probes())
