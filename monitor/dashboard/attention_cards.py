"""From the attention maps of a window to what the panel below the waveforms shows of them, in cards. Pure numpy.

A card is one map, or one picture that the model was shown. What has no place in time is never given one: tokens mix
all of a window, gates belong to a model's own channels. A map that is nearly uniform is called "no focus".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitor.dashboard.attention import NO_FOCUS, normalised_entropy, relative
from monitor.link import AttentionFrame, AttentionImage, AttentionMap
from monitor.types import FloatArray

PAGE: Final = 8
"""Width that fits beside one another."""
STRONGEST: Final = 10
"""Channels of an input that are named one by one."""

_ALIKE: Final = 1e-6
_MANY: Final = 40
"""Gates that need a wider card."""
_BESIDE: Final = 2
"""Up to so many pictures with a roll-out are shown without it too."""
_PICTURES, _TIMES, _SHARES, _RANKED, _GATES, _TOKENS, _PROFILES = range(7)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Card:
    """What all cards have.

    Attributes:
        name: Of the map, or of the input whose picture it is; unique.
        title: What it is, in words; unique among a window's cards.
        note: What is to be known to read it.
        width: Share of `PAGE`.
    """

    name: str
    title: str
    note: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureCard(Card):
    """A picture that the model was shown, and where it looked."""

    pixels: NDArray[np.uint8] | None
    """(height, width, 3); None where it was not sent."""
    strength: FloatArray | None
    """(rows, columns) 0..1, relative to the greatest, all 0 without focus; None where there is no map of it."""
    focus: bool
    beside: bool
    """Whether the picture is shown without the map too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapCard(Card):
    """Attention of points on points: rows look, columns are looked at."""

    strength: FloatArray
    """(rows, columns) 0..1, relative to the greatest; all 0 where there is no focus."""
    focus: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShareCard(Card):
    """Weights that sum to 1 over a few things that have names."""

    names: tuple[str, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankedCard(Card):
    """Weights of an input's own channels: the strongest by number, and all in a strip."""

    entries: tuple[tuple[str, float], ...]
    """Strongest first; of equals the first."""
    values: FloatArray
    """(channels,) 0..1."""
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GateCard(Card):
    """How far each of a model's own channels was let through."""

    values: FloatArray
    """(channels,) 0..1."""
    active: bool
    """False where all are alike, so that they choose nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProfileCard(Card):
    """Attention along a signal, which is shaded on its waveform too where one is drawn."""

    strength: FloatArray
    """(n,) 0..1, relative to the greatest; all 0 where there is no focus."""
    focus: bool


AnyCard: TypeAlias = PictureCard | MapCard | ShareCard | RankedCard | GateCard | ProfileCard


def cards(frame: AttentionFrame) -> tuple[AnyCard, ...]:
    """All cards of a window, the most telling first.

    Maps on the picture, then over time, weights of modalities, of an input's channels, gates of the model's own
    channels beside the picture that they belong to, tokens, and last what is shaded on the waveforms anyway.
    """
    reader = _Reader(frame)
    found: list[tuple[tuple[int, int, int], AnyCard]] = []
    for number, item in enumerate(frame.maps):
        values = item.values.astype(np.float64)
        if values.size and np.isfinite(values).all() and (made := reader.card(item, values)) is not None:
            rank, card = made
            # Gates stand beside the picture of their input; all else keeps the order of the model.
            found.append(((rank, reader.place(item.of_input) if rank == _GATES else 0, 1 + number), card))
    mapped = {item.of_input for item in frame.maps if item.axis == "image"}
    found += [
        ((_GATES, reader.place(image.input), 0), reader.plain(image))
        for image in frame.images
        if image.input not in mapped
    ]
    return tuple(card for _, card in sorted(found, key=lambda pair: pair[0]))


def pages(all_cards: Sequence[AnyCard]) -> tuple[tuple[AnyCard, ...], ...]:
    """The cards in groups that fit beside one another, in their order; one empty group where there are none."""
    result: list[list[AnyCard]] = [[]]
    for card in all_cards:
        if result[-1] and sum(item.width for item in result[-1]) + card.width > PAGE:
            result.append([])
        result[-1].append(card)
    return tuple(tuple(group) for group in result)


class _Reader:
    """Makes cards of the maps of one frame."""

    def __init__(self, frame: AttentionFrame) -> None:
        self._modality = {item.name: item.modality for item in frame.inputs if item.name}
        self._channels = {item.name: item.channels for item in frame.inputs if item.name}
        self._seconds = {item.modality: item.samples / item.rate_hz for item in frame.inputs}
        self._seconds |= {item.name: item.samples / item.rate_hz for item in frame.inputs if item.name}
        self._images = {image.input: image for image in frame.images}
        self._order = list(self._modality)
        rollouts = sum(item.axis == "image" for item in frame.maps)
        self._beside = rollouts <= _BESIDE
        self._makers: dict[str, Callable[[AttentionMap, FloatArray], tuple[int, AnyCard] | None]] = {
            "image": self._picture,
            "time": self._time,
            "modality": self._share,
            "channel": self._channel,
            "token": self._token,
        }

    def card(self, item: AttentionMap, values: FloatArray) -> tuple[int, AnyCard] | None:
        """The card of a map and its rank; None where a screen does not show such a map."""
        make = self._makers.get(item.axis)
        return make(item, values) if make is not None else None

    def place(self, name: str) -> int:
        """Place of an input among all of the model's."""
        return self._order.index(name) if name in self._order else len(self._order)

    def plain(self, image: AttentionImage) -> PictureCard:
        """A picture without a map of it."""
        return PictureCard(
            name=image.input,
            title=self._input(image.input, image.modality),
            note="what the model saw",
            width=2,
            pixels=_pixels(image),
            strength=None,
            focus=False,
            beside=False,
        )

    def _picture(self, item: AttentionMap, values: FloatArray) -> tuple[int, AnyCard] | None:
        if values.ndim != 2:
            return None
        image = self._images.get(item.of_input)
        focus = normalised_entropy(values.ravel()) <= NO_FOCUS
        found = "where it looked" if focus else "no focus"
        return _PICTURES, PictureCard(
            name=item.name,
            title=self._input(item.of_input, item.of),
            note=f"roll-out: {found}" if image is not None else f"roll-out: {found} · picture not sent",
            width=4 if self._beside else 2,
            pixels=_pixels(image) if image is not None else None,
            strength=relative(values) if focus else np.zeros(values.shape),
            focus=focus,
            beside=self._beside and image is not None,
        )

    def _time(self, item: AttentionMap, values: FloatArray) -> tuple[int, AnyCard] | None:
        of, by = self._input(item.of_input, item.of), self._input(item.by_input, item.by)
        seconds = self._seconds.get(item.of_input, self._seconds.get(item.of, 0.0))
        focus = normalised_entropy(values) <= NO_FOCUS if values.ndim in (1, 2) else False
        strength = relative(values) if focus else np.zeros(values.shape)
        if values.ndim == 1:
            note = f"→ time, {seconds:.1f} s"
            title = f"{of}: attention over time"
            card = ProfileCard(name=item.name, title=title, note=note, width=4, strength=strength, focus=focus)
            return _PROFILES, card
        if values.ndim != 2 or item.kind not in ("cross", "self"):
            return None
        rest = item.name.partition(".")[2]
        if item.kind == "self":
            stream = "" if rest.lower() == of.lower() else f" ({rest.upper()})"
            title = f"{of}: self-attention{stream}"
        elif by != of:
            title = f"{by} reads {of}"
        else:  # streams within the model that look at one signal
            reader, _, read = rest.upper().partition("_FROM_")
            title = f"{of}: {reader} reads {read}" if read else f"{of} reads {of} (cross-attention)"
        note = f"→ time in {of}, {seconds:.1f} s      ↓ time in {by}"
        return _TIMES, MapCard(name=item.name, title=title, note=note, width=4, strength=strength, focus=focus)

    def _share(self, item: AttentionMap, values: FloatArray) -> tuple[int, AnyCard] | None:
        names = (item.of_input or item.of).split("+")
        if values.ndim != 1 or len(names) != len(values) or (values < 0).any():
            return None
        said = tuple(self._input(name, self._modality.get(name, name)) for name in names)
        flat = len(values) > 1 and normalised_entropy(values) > NO_FOCUS
        return _SHARES, ShareCard(
            name=item.name,
            title="weights of the modalities",
            note="no focus: nearly alike" if flat else "sum to 100 %",
            width=2,
            names=said,
            shares=tuple(values.tolist()),
        )

    def _channel(self, item: AttentionMap, values: FloatArray) -> tuple[int, AnyCard] | None:
        if values.ndim != 1:
            return None
        count = len(values)
        values = np.clip(values, 0.0, 1.0)
        active = bool(np.ptp(values) > _ALIKE)
        if count > 1 and self._channels.get(item.of_input) == count:
            what = item.of.rpartition(":")[2].removesuffix("s") or "channel"
            order = np.argsort(-values, kind="stable")[:STRONGEST].tolist()
            return _RANKED, RankedCard(
                name=item.name,
                title=f"weights of {count} {what}s, strongest {len(order)}"
                if active
                else f"weights of {count} {what}s",
                note=f"0 to 1; numbered from 1 · strip: all {count}" if active else "SE inactive: all pass alike",
                width=4,
                entries=tuple((f"{what} {index + 1}", float(values[index])) for index in order),
                values=values,
                active=active,
            )
        kind, _, rest = item.name.partition(".")
        what = f"expert {rest.partition('.')[0]} gates" if kind == "gate" else "SE gates"
        inactive = f"{'SE' if kind == 'channel' else 'gates'} inactive: all pass alike"
        return _GATES, GateCard(
            name=item.name,
            title=self._titled(what, item),
            note=f"{count} channels, 0 to 1" if active else inactive,
            width=2 if count <= _MANY else 3,
            values=values,
            active=active,
        )

    def _token(self, item: AttentionMap, values: FloatArray) -> tuple[int, AnyCard] | None:
        if values.ndim != 2:
            return None
        layer = item.name.split(".")[1] if item.name.count(".") else ""
        what = f"self-attention {int(layer) + 1}" if layer.isdecimal() else "self-attention"
        focus = normalised_entropy(values) <= NO_FOCUS
        return _TOKENS, MapCard(
            name=item.name,
            title=self._titled(what, item),
            note="tokens mix the whole window",
            width=2,
            strength=relative(values) if focus else np.zeros(values.shape),
            focus=focus,
        )

    def _titled(self, what: str, item: AttentionMap) -> str:
        """What it is, and of which input where it is not of all."""
        one = item.of_input in self._modality and len(self._modality) > 1
        return f"{self._input(item.of_input, item.of)}: {what}" if one else what

    def _input(self, name: str, modality: str) -> str:
        """An input in words: `EDA`, `EDA scalogram`, `regions`."""
        if modality.startswith(("ARRAY:", "EMBED:")):
            return modality.partition(":")[2]
        if not name or name.lower() == modality.lower():
            return modality
        rest = name.removeprefix(f"{modality.lower()}_")
        return (
            f"{modality} {rest.replace('_', ' ').replace(' psd', ' PSD')}" if rest != name else f"{modality} ({name})"
        )


def _pixels(image: AttentionImage) -> NDArray[np.uint8] | None:
    try:
        return image.pixels
    except ValueError:  # not as many bytes as pixels
        return None
