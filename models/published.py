"""The published models with their authors' weights, by the names of the public code.

`load` and `load_file` fill our module from a checkpoint in the authors' layout and wrap it so that it takes the
published input and gives the published output first. Every entry of a checkpoint is used, or named as one that is
known and not needed (PainFormer's classifier), or refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from models.base import PainModel
from models.blocks.backbone import IMAGE_SHAPE, ImageBackbone
from models.painattnnet import MSCNSE, MSCNOnly, MSCNTran, PainAttnNet
from models.painattnnet_fusion import PainAttnNetLate
from models.painformer import PainFormer
from models.published_files import read_file, state_dict_of
from models.se_cnn import POINTS, SECNN, Variant, from_keras, keras_entries
from models.tiny_biomoe import TinyBioMoE

_log = logging.getLogger(__name__)

SIGNALS: Final = ("eda", "ecg", "emg")
"""Order in which m-PainAttnNet joins signals, raw values at 512 Hz."""
SAMPLES: Final = 2816
"""Points of each: 5.5 s."""

_SHOWN: Final = 12


class PublishedWeightsError(ValueError):
    """Weights do not fit the model that they are said to be of.

    Attributes:
        unknown: Entries that the model does not have.
        missing: Entries of the model that are not there.
        misshapen: Entries of another shape or kind, with what was expected: `fc.weight is (3, 2250), not (2, 2250)`.
    """

    def __init__(
        self,
        name: str,
        *,
        unknown: Sequence[str] = (),
        missing: Sequence[str] = (),
        misshapen: Sequence[str] = (),
        hint: str = "",
    ) -> None:
        self.unknown = tuple(unknown)
        self.missing = tuple(missing)
        self.misshapen = tuple(misshapen)
        parts = [hint] if hint else []
        lists = (("unknown", self.unknown), ("missing", self.missing), ("of another shape", self.misshapen))
        for title, entries in lists:
            if entries:
                more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
                parts.append(f"{len(entries)} {title}: {', '.join(entries[:_SHOWN])}{more}")
        super().__init__(f"these are not the weights of {name}; " + "; ".join(parts))


class PublishedOutput(NamedTuple):
    """What a published model gives, and what our module has beside it."""

    output: Tensor
    """(B, classes) logits; of `fmri_*` softmax, as their graph ends; of `painformer` and `tiny_biomoe` the embedding,
    (B, 160) and (B, 192)."""
    features: Tensor
    """(B, D) of the layer before the last; the embedding again where there is no classifier."""
    attention: dict[str, Tensor]
    """Our maps by name; empty unless asked for."""


class Published(nn.Module):
    """A published model that is called as its public code is.

    Attributes:
        name: One of `NAMES`.
        model: Our module: a `PainModel`, or an `ImageBackbone` of `painformer` and `tiny_biomoe`.
        unused: Entries of the checkpoint that are known and not needed.
    """

    def __init__(self, name: str, model: PainModel | ImageBackbone, *, unused: Sequence[str] = ()) -> None:
        super().__init__()
        self.name = name
        self.model = model
        self.unused = tuple(unused)

    def forward(self, x: Tensor, *, with_attention: bool = False) -> PublishedOutput:
        """Run it on a batch in the published layout.

        Args:
            x: (B, 1, 2816 * signals), joined along time; (B, 3, 224, 224); of `fmri_*` (B, 25, regions).
            with_attention: Give the maps too.

        Raises:
            ValueError: If the batch has another shape.
        """
        expected = PUBLISHED[self.name].shape
        if tuple(x.shape[1:]) != expected:
            raise ValueError(f"{self.name} takes (B, {', '.join(map(str, expected))}), not {tuple(x.shape)}")
        if isinstance(self.model, ImageBackbone):
            embedding, maps = self.model(x, with_attention=with_attention)
            return PublishedOutput(embedding, embedding, maps)
        names = self.model.input_names
        if isinstance(self.model, SECNN):
            result = self.model({names[0]: x.transpose(1, 2)}, with_attention=with_attention)
            return PublishedOutput(torch.softmax(result.logits, dim=-1), result.features, result.attention)
        signals = dict(zip(names, x.split(SAMPLES, dim=-1), strict=True))
        result = self.model(signals, with_attention=with_attention)
        return PublishedOutput(result.logits, result.features, result.attention)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a published model is built, and what its checkpoint calls things."""

    shape: tuple[int, ...]
    """Of the published input, without the batch axis."""
    build: Callable[[int], PainModel | ImageBackbone]
    """From the number of classes, which an encoder does not heed."""
    last: str | None = None
    """The entry whose first (in Keras' layout last) axis is the classes; None where there are none."""
    classes: int | None = None
    """The number that the name itself states; None where any will do."""
    variant: Variant | None = None
    """Of the SE-CNN; None where entries bear our names."""
    prefix: str = ""
    """What the checkpoint puts before every name."""
    unused: tuple[str, ...] = ()
    """Beginnings of entries that a checkpoint may hold and we do not need."""

    def names(self, model: nn.Module) -> dict[str, str]:
        """Our names of the entries by the checkpoint's."""
        if self.variant is None:
            return {self.prefix + key: key for key in model.state_dict()}
        return {theirs: ours for ours, theirs in keras_entries(self.variant).items()}

    def needless(self, key: str) -> bool:
        """Whether an entry is one that is known and not needed."""
        return any(key.startswith(beginning) for beginning in self.unused)

    def convert(self, value: Tensor) -> Tensor:
        """An entry in our layout."""
        return value if self.variant is None else from_keras(value)

    def published_shape(self, own: Tensor) -> tuple[int, ...]:
        """Shape that one of our entries has in the checkpoint."""
        return tuple(own.shape if self.variant is None else reversed(own.shape))


def _signals(make: Callable[..., PainModel], count: int, *, prefix: str = "") -> Entry:
    def build(classes: int) -> PainModel:
        return make(inputs=SIGNALS[:count], classes=classes, samples=SAMPLES)

    return Entry(shape=(1, SAMPLES * count), build=build, last=f"{prefix}fc.weight", prefix=prefix)


def _regions(variant: Variant, classes: int) -> Entry:
    def build(count: int) -> SECNN:
        return SECNN(variant=variant, classes=count)

    regions = 32 if variant == "ebr" else 246
    return Entry(shape=(POINTS, regions), build=build, last="dense3.kernel", classes=classes, variant=variant)


PUBLISHED: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "painattnnet": _signals(PainAttnNet, 1),
        **{f"mpan_mscn_m{m}": _signals(MSCNOnly, m) for m in (1, 2, 3)},
        **{f"mpan_mscn_se_m{m}": _signals(MSCNSE, m) for m in (1, 2, 3)},
        **{f"mpan_mscn_tran_m{m}": _signals(MSCNTran, m) for m in (1, 2, 3)},
        **{f"mpan_full_m{m}": _signals(PainAttnNet, m) for m in (1, 2, 3)},
        **{f"mpan_early_m{m}": _signals(PainAttnNet, m, prefix="PainAttnNet.") for m in (2, 3)},
        **{f"mpan_late_m{m}": _signals(PainAttnNetLate, m) for m in (2, 3)},
        "painformer": Entry(shape=IMAGE_SHAPE, build=lambda _: PainFormer(), unused=("head.",)),
        "tiny_biomoe": Entry(shape=IMAGE_SHAPE, build=lambda _: TinyBioMoE()),
        **{f"fmri_{variant}_class": _regions(variant, 3) for variant in ("se", "vanilla", "ebr")},
        **{f"fmri_{variant}_level": _regions(variant, 9) for variant in ("se", "vanilla", "ebr")},
    }
)
"""The table that everything here is driven by."""

NAMES: Final = tuple(PUBLISHED)
"""Names that `load` takes."""


def load_file(name: str, path: Path, *, classes: int | None = None) -> Published:
    """`load` from a file of torch.save or safetensors; see `models.published_files` for what is read.

    Raises:
        ValueError: If there is no such model.
        WeightsFileError: If the file cannot be read as weights.
        PublishedWeightsError: If its weights are not the model's.
    """
    _entry(name)
    return load(name, state_dict_of(read_file(path), str(path)), classes=classes)


def load(name: str, state_dict: Mapping[str, Any], *, classes: int | None = None) -> Published:
    """A published model with the weights of a checkpoint, in evaluation mode, on the CPU.

    Args:
        name: One of `NAMES`.
        state_dict: In the authors' layout, values of any floating type; may stand in one of the wrappers of files.
        classes: Refuse weights of another number; None takes the number that they have.

    Raises:
        ValueError: If there is no such model, or classes are asked of an encoder.
        WeightsFileError: If there are no weights.
        PublishedWeightsError: With every entry that is unknown, missing or misshapen.
    """
    entry = _entry(name)
    if classes is not None and entry.last is None:
        raise ValueError(f"{name} is an encoder and gives an embedding; its classes are those of a head")
    given = state_dict_of(state_dict, "state_dict")
    if entry.classes is not None and classes not in (None, entry.classes):
        raise ValueError(f"{name} has {entry.classes} classes, not the {classes} asked for")
    wanted = entry.classes or classes or _classes(entry, given) or 2
    model = entry.build(wanted)
    ours, unused = _fit(name, model, given, wanted)
    # Weights first: whatever an encoder derives from them in evaluation mode must be derived from these.
    model.load_state_dict(ours, strict=True)
    if unused:
        _log.info("%s: not needed and left out: %s", name, ", ".join(unused))
    return Published(name, model, unused=unused).eval()


def _entry(name: str) -> Entry:
    if name not in PUBLISHED:
        raise ValueError(f"no published model {name!r}; there are {', '.join(NAMES)}")
    return PUBLISHED[name]


def _classes(entry: Entry, given: Mapping[str, Tensor]) -> int | None:
    """Number of classes of the last layer; None where it cannot be told."""
    value = given.get(entry.last or "")
    if value is None or value.ndim != 2:
        return None
    count = value.shape[-1 if entry.variant else 0]
    return count if count >= 2 else None


def _fit(
    name: str, model: nn.Module, given: Mapping[str, Tensor], wanted: int | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Our state_dict from the checkpoint's, and what of it is not needed.

    Raises:
        PublishedWeightsError: If any entry is unknown, missing or misshapen.
    """
    entry = PUBLISHED[name]
    own = model.state_dict()
    names = entry.names(model)
    unused = tuple(key for key in given if key not in names and entry.needless(key))
    unknown = [key for key in given if key not in names and key not in unused]
    missing = [key for key in names if key not in given]
    misshapen = []
    filled = dict(own)  # what Keras does not keep (how many batches there were) stays as it is
    for theirs, ours in names.items():
        if theirs not in given:
            continue
        value = entry.convert(given[theirs])
        if value.shape != own[ours].shape:
            misshapen.append(f"{theirs} is {tuple(given[theirs].shape)}, not {entry.published_shape(own[ours])}")
        elif wrong := _wrong(value, own[ours]):
            misshapen.append(f"{theirs} {wrong}")
        else:
            filled[ours] = value.to(own[ours].dtype)
    if unknown or missing or misshapen:
        raise PublishedWeightsError(
            name, unknown=unknown, missing=missing, misshapen=misshapen, hint=_hint(name, given, wanted)
        )
    return filled, unused


def _wrong(value: Tensor, own: Tensor) -> str:
    """What is wrong with an entry of the right shape, as the end of a sentence; empty where nothing is."""
    if value.is_floating_point() != own.is_floating_point() or value.is_complex():
        return f"holds {str(value.dtype).removeprefix('torch.')}, not {str(own.dtype).removeprefix('torch.')}"
    if value.is_floating_point():
        return "" if torch.isfinite(value).all() else "holds numbers that are not finite"
    # A counter may be anything; a table that the constructor works out is part of the architecture.
    return "" if own.ndim == 0 or torch.equal(value, own) else "is another table than the architecture's"


def _hint(name: str, given: Mapping[str, Tensor], wanted: int | None) -> str:
    """What the weights are instead: of another number of classes, or of other published models that they would fit."""
    found = _classes(PUBLISHED[name], given)
    if found is not None and found != wanted:
        return f"they have {found} classes, not {wanted}"
    shapes = {key: tuple(value.shape) for key, value in given.items()}
    fitting = []
    for other, entry in PUBLISHED.items():
        needed = {key: shape for key, shape in shapes.items() if not entry.needless(key)}
        if other != name and _layout(other, entry.classes or _classes(entry, given)) == needed:
            fitting.append(other)
    return f"they fit {' or '.join(fitting)}" if fitting else ""


@cache
def _layout(name: str, classes: int | None) -> dict[str, tuple[int, ...]]:
    """Shapes of a published model's entries, by the checkpoint's names."""
    entry = PUBLISHED[name]
    with torch.random.fork_rng(devices=()):
        model = entry.build(classes or 2)
    own = model.state_dict()
    return {theirs: entry.published_shape(own[ours]) for theirs, ours in entry.names(model).items()}
