"""Pipelines of PainFormer and Tiny-BioMoE: images of biosignals through one encoder, fused, classified.

Both papers draw each signal as an image (waveform, spectrogram, ...), embed it with one encoder for all, and fuse
embeddings by adding ("add"), by joining ("concat", PainFormer's "concatenation on the y-axis"), or by deciding for
each and averaging ("decision", PainFormer's RGB + thermal + depth). PainFormer's GSR + video is
[GSR 160 ; Video-Encoder(RGB + thermal + depth) 40] = 200.

Images come as the encoder takes them (its `mean` and `std` are part of how an image is drawn). Without the authors'
weights the encoder's features are no better than those of random filters, and whoever ships a bundle says so.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, Self, TypeAlias, get_args

import torch
from torch import Tensor, nn

from models.base import AttentionMap, PainModel, PainOutput, Shapes
from models.blocks.backbone import IMAGE_SHAPE, ImageBackbone
from models.blocks.linear import TokenLinear
from models.embedding_mixer import EMBEDDING, FRAMES, MIXED, VIDEO_FEATURES, EmbeddingMixer, VideoEncoder
from models.painformer import PainFormer
from models.tiny_biomoe import TinyBioMoE

Fusion: TypeAlias = Literal["add", "concat", "decision"]
Head: TypeAlias = Literal["linear", "mixer"]

EMBED_SHAPE: Final = (EMBEDDING, FRAMES)
"""Shape of a video's frame embeddings: 160 channels, 138 frames."""


class LinearHead(nn.Module):
    """Dropout and Linear, after ELU where the published head has it."""

    def __init__(self, width: int, classes: int, *, elu: bool, dropout: float) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.ELU() if elu else nn.Identity(), nn.Dropout(dropout))
        self.out = TokenLinear(width, classes)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, tokens, width / tokens) -> logits (B, classes), and what was classified, (B, width)."""
        features = tokens.flatten(1)
        return self.out(self.before(features)), features

    def flops(self) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return 2 * self.out.weight.numel()

    def parity_probes(self) -> tuple[str, ...]:
        """None: nothing here steers anything."""
        return ()


class MixerHead(nn.Module):
    """Embedding-Mixer over the embeddings as tokens, then dropout and Linear."""

    def __init__(self, width: int, tokens: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.mixer = EmbeddingMixer(channels=width, tokens=tokens)
        self.dropout = nn.Dropout(dropout)
        self.out = TokenLinear(MIXED, classes)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, tokens, width) -> logits (B, classes), and what was classified, (B, 512)."""
        features = self.mixer(tokens)
        return self.out(self.dropout(features)), features

    def flops(self) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        return self.mixer.flops() + 2 * self.out.weight.numel()

    def parity_probes(self) -> tuple[str, ...]:
        """The mixer's queries and keys."""
        return tuple(f"mixer.{name}" for name in self.mixer.parity_probes())


class ImagePipeline(PainModel):
    """One encoder for all images, fusion of its embeddings, and a head.

    With fusion "decision" each image (and the video) has a head of its own and the probabilities are averaged. The
    logits given are the log of that mean, so that softmax at temperature 1 gives the mean back.

    All images go through the encoder as one batch: the graph has one encoder however many images there are, and two
    images take a seventh less time in torch and the same in ONNX Runtime as one after the other.

    `features` are what the last Linear sees before dropout and ELU: the fused embedding, or the mixer's 512; with
    "decision" those of all heads, end to end.

    Readings: the embeddings of several videos are added before the one Video-Encoder, as the paper writes
    Enc(RGB + thermal + depth). With a mixer, "concat" gives it one token an image, "add" one token in all; with video
    the fused [images ; 40] is a single token, for 40 features are no token of 160.

    Args:
        inputs: Names of the images, (B, 3, 224, 224) each.
        embeds: Names of the frame embeddings, (B, 160, 138) each; PainFormer's only.
        fusion: "add", "concat" or "decision"; of one image alone all are the same.
        head: "linear" or "mixer".
        classes: Number of classes.
        dropout: Before the last Linear, in training.

    Raises:
        ValueError: If there is no image, a name twice, an unknown fusion or head, nothing to classify, or video for an
            encoder without.
    """

    published_elu: ClassVar[bool]
    """Whether the published linear head begins with ELU."""
    takes_embeds: ClassVar[bool] = False

    def __init__(
        self,
        *,
        inputs: Sequence[str] = ("eda_waveform",),
        embeds: Sequence[str] = (),
        fusion: Fusion = "concat",
        head: Head = "linear",
        classes: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        names = (*inputs, *embeds)
        if not inputs or len(set(names)) != len(names):
            raise ValueError(f"{self.architecture} takes one or more different images, not {names}")
        if embeds and not self.takes_embeds:
            raise ValueError(f"{self.architecture} takes images only, not the frame embeddings {tuple(embeds)}")
        if fusion not in get_args(Fusion):
            raise ValueError(f"no fusion {fusion!r}; there are {', '.join(get_args(Fusion))}")
        if head not in get_args(Head):
            raise ValueError(f"no head {head!r}; there are {', '.join(get_args(Head))}")
        if classes < 2:
            raise ValueError(f"{classes} classes leave nothing to classify")
        self.arguments = {
            "inputs": list(inputs),
            "embeds": list(embeds),
            "fusion": fusion,
            "head": head,
            "classes": classes,
            "dropout": dropout,
        }
        self.input_names = names
        self.images = tuple(inputs)
        self.embeds = tuple(embeds)
        self.fusion = fusion
        self.classes = classes
        self.backbone = self.make_backbone()
        self.video = VideoEncoder() if embeds else None
        self.frozen = False

        width = self.backbone.embedding
        heads = []
        for tokens, each in self._plan(width):
            if head == "mixer":
                heads.append(MixerHead(each, tokens, classes, dropout=dropout))
            else:
                heads.append(LinearHead(tokens * each, classes, elu=self.published_elu, dropout=dropout))
        self.heads = nn.ModuleList(heads)

    @abstractmethod
    def make_backbone(self) -> ImageBackbone:
        """The encoder, at its first weights."""

    def _plan(self, width: int) -> tuple[tuple[int, int], ...]:
        """(tokens, width of each) that each head sees."""
        video = VIDEO_FEATURES if self.embeds else 0
        if self.fusion == "decision":
            return ((1, width),) * len(self.images) + (((1, video),) if video else ())
        tokens = 1 if self.fusion == "add" else len(self.images)
        return ((1, tokens * width + video),) if video else ((tokens, width),)

    def _fuse(self, embeddings: Tensor, video: Tensor | None) -> list[Tensor]:
        """(images, B, D) and (B, 40) -> (B, tokens, width) for each head, as `_plan` says."""
        if self.fusion == "decision":
            parts = [*embeddings.unbind(0), *([] if video is None else [video])]
            return [part.unsqueeze(1) for part in parts]
        tokens = embeddings.sum(0).unsqueeze(1) if self.fusion == "add" else embeddings.transpose(0, 1)
        if video is None:
            return [tokens]
        return [torch.cat([tokens.flatten(1), video], dim=-1).unsqueeze(1)]

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        """Classify a batch; see the class for the features and `attention_maps` for the maps."""
        count = len(self.images)
        images = torch.cat([inputs[name] for name in self.images]) if count > 1 else inputs[self.images[0]]
        embeddings, maps = self.backbone(images, with_attention=with_attention)
        video = None
        if self.video is not None:
            video = self.video(sum((inputs[name] for name in self.embeds[1:]), inputs[self.embeds[0]]))
        seen = self._fuse(self._apart(embeddings), video)

        decided = [head(tokens) for head, tokens in zip(self.heads, seen, strict=True)]
        logits, features = decided[0]
        if len(decided) > 1:
            each = torch.stack([torch.log_softmax(one, dim=-1) for one, _ in decided])
            logits = torch.logsumexp(each, dim=0) - math.log(len(decided))
            features = torch.cat([one for _, one in decided], dim=-1)
        attention = {}
        if with_attention:
            for item in self.backbone.maps:
                named = zip(self.images, self._apart(maps[item.name]).unbind(0), strict=True)
                attention |= {self._map_name(item.name, name): part for name, part in named}
        return PainOutput(logits=logits, features=features, attention=attention)

    def _apart(self, x: Tensor) -> Tensor:
        """(images * B, ...) -> (images, B, ...)."""
        return x.unflatten(0, (len(self.images), -1))

    def _map_name(self, name: str, image: str) -> str:
        return name if len(self.images) == 1 else f"{name}.{image}"

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        """(3, 224, 224) of each image, (160, 138) of each video's frame embeddings; the only ones."""
        return dict.fromkeys(self.images, IMAGE_SHAPE) | dict.fromkeys(self.embeds, EMBED_SHAPE)

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        """The encoder's maps of each image, named `rollout` where there is one image and `rollout.<input>` else."""
        self.check_shapes(shapes)
        return tuple(
            AttentionMap(
                name=self._map_name(item.name, name), kind=item.kind, axis=item.axis, of=name, by=name, shape=item.shape
            )
            for item in self.backbone.maps
            for name in self.images
        )

    def flops(self, shapes: Shapes) -> int:
        """Operations for one window, at 2 per multiply-accumulate."""
        self.check_shapes(shapes)
        video = 0 if self.video is None else self.video.flops()
        return len(self.images) * self.backbone.flops() + video + sum(head.flops() for head in self.heads)

    def parity_probes(self) -> tuple[str, ...]:
        """The encoder's, and the queries and keys of Video-Encoder and Embedding-Mixer."""
        parts = {"backbone": self.backbone, **({} if self.video is None else {"video": self.video})}
        parts |= {f"heads.{number}": head for number, head in enumerate(self.heads)}
        return tuple(f"{part}.{name}" for part, module in parts.items() for name in module.parity_probes())

    def freeze_backbone(self, frozen: bool = True) -> Self:
        """Train the heads only (PainFormer's pain protocol), or everything again (Tiny-BioMoE's).

        A frozen encoder takes no gradients and stays in evaluation mode, its running statistics included.
        """
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of everything that is not frozen."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


class TinyBioMoEPipeline(ImagePipeline):
    """Tiny-BioMoE on images of biosignals: 192-d embeddings, head ELU and Linear as its README has it.

    With three classes and one image 7,337,857 parameters and 3.08 thousand million operations. The encoder is
    fine-tuned with the head, as published.
    """

    architecture = "tiny-biomoe"
    paper = TinyBioMoE.paper
    published_elu = True

    def make_backbone(self) -> ImageBackbone:
        """Tiny-BioMoE's two encoders and their gates."""
        return TinyBioMoE()


class PainFormerPipeline(ImagePipeline):
    """PainFormer on images of biosignals, and on video that comes as frame embeddings.

    With three classes and one image 19,597,187 parameters and 12.2 thousand million operations; the Video-Encoder
    adds 3,372,868 and 3.17, the Embedding-Mixer 9.2 million and 5.2 (see `models.embedding_mixer`). The published
    protocol leaves the encoder as it is (`freeze_backbone`) and trains the rest on its embeddings.
    """

    architecture = "painformer"
    paper = PainFormer.paper
    published_elu = False
    takes_embeds = True

    def make_backbone(self) -> ImageBackbone:
        """PainFormer's encoder."""
        return PainFormer()
