"""Look through a whole data set, one sitting in memory at a time: what is there, of whom, and what is odd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from models.data.ai4pain import may_be_joined
from models.data.cache import CacheError
from models.data.oddities import ClassCount, class_oddities, count_classes, signal_oddities
from models.data.recorded import PROTOCOLS, Channel, DataSet, Oddity, Sitting, SittingFiles
from models.data.settings import OWN
from monitor.errors import SourceError

_CALIBRATION_S: Final = 30.0
"""Continuous data need so much rest before the first stimulus, else the monitor could not calibrate."""
NOTICE: Final = "Nothing of this data set is shipped with this program; it is read from your folder only."
_SIMULATED: Final = (
    "Simulated: nobody was recorded. Figures on it say how a method works, not how well it would on people."
)


def notice(kind: str) -> str:
    """What is to be said first of data of a kind."""
    return _SIMULATED if kind == "simulated" else NOTICE


@dataclass(frozen=True, slots=True, kw_only=True)
class SittingSummary:
    """One sitting in a line."""

    subject: str
    session: str
    part: str
    counts: tuple[ClassCount, ...]
    channels: tuple[Channel, ...]
    seconds: float
    """Of its longest channel, all stretches together."""
    ratings: int
    digest: str

    @property
    def key(self) -> str:
        """Subject and session."""
        return f"{self.subject}/{self.session}" if self.session else self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that `python -m models data` says."""

    kind: str
    root: str
    classes: tuple[str, ...]
    sittings: tuple[SittingSummary, ...]
    unread: tuple[str, ...]
    """Sittings whose files are damaged."""
    oddities: tuple[Oddity, ...]
    protocols: Mapping[str, str]
    """Each protocol, and why the data do not allow it (empty where they do)."""

    @property
    def wrong(self) -> bool:
        """Whether something must be mended before training."""
        return any(oddity.level == "error" for oddity in self.oddities)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "kind": self.kind,
            "root": self.root,
            "notice": notice(self.kind),
            "classes": list(self.classes),
            "subjects": len({sitting.subject for sitting in self.sittings}),
            "sittings": [asdict(sitting) for sitting in self.sittings],
            "unread": list(self.unread),
            "oddities": [asdict(oddity) for oddity in self.oddities],
            "protocols": dict(self.protocols),
            "fit_for_training": not self.wrong,
        }


def survey(data: DataSet, *, on_sitting: Callable[[SittingFiles], object] | None = None) -> Survey:
    """Read every sitting once; damage ends only the sitting that it is in.

    Args:
        data: As `open_data` gives it.
        on_sitting: Called before each sitting is read.

    Raises:
        CacheError: If what was read cannot be kept.
    """
    oddities = list(data.oddities)
    found: list[SittingSummary] = []
    unread: list[str] = []
    joinable: list[bool] = []
    late: list[str] = []
    cut = False
    for files in data.sittings:
        if on_sitting is not None:
            on_sitting(files)
        try:
            sitting = data.load(files)
        except CacheError:
            raise
        except SourceError as error:
            unread.append(files.key)
            oddities.append(
                Oddity(level="error", code="damaged", where=error.where or files.key, what=error.what, todo=error.todo)
            )
            continue
        oddities += sitting.oddities
        oddities += signal_oddities(sitting)
        if data.kind == "ai4pain-2025" and sitting.part != "test":
            joinable.append(may_be_joined(sitting))
        if sitting.facts.get("first_stimulus_s", _CALIBRATION_S) < _CALIBRATION_S:
            late.append(sitting.key)
        cut = cut or any(trial.seconds is None for trial in sitting.trials)
        found.append(_summary(sitting))
    oddities += _twins(found)
    oddities += class_oddities(
        {f"{s.part} {s.key}".strip(): s.counts for s in found},
        data.classes,
        {f"{s.part} {s.key}".strip(): s.part for s in found},
        cut=cut,
        configured=data.kind in OWN,
    )
    oddities += _people(found, late)
    if joinable:
        what = f"columns of {sum(joinable)} of {len(joinable)} subjects may be joined to a stream (test of seams)"
        oddities.append(Oddity(level="note", code="seams", where="all", what=what, todo="Other seams are gaps"))
    return Survey(
        kind=data.kind,
        root=str(data.root),
        classes=data.classes,
        sittings=tuple(found),
        unread=tuple(unread),
        oddities=tuple(oddities),
        protocols={name: data.refused.get(name, "") for name in PROTOCOLS},
    )


def _summary(sitting: Sitting) -> SittingSummary:
    seconds = 0.0
    for stretch in sitting.stretches:
        lengths = [
            len(stretch.tracks[c.name].samples) / c.rate_hz for c in sitting.channels if c.name in stretch.tracks
        ]
        seconds += max(lengths, default=0.0)
    return SittingSummary(
        subject=sitting.subject,
        session=sitting.session,
        part=sitting.part,
        counts=count_classes(sitting),
        channels=sitting.channels,
        seconds=seconds,
        ratings=len(sitting.ratings),
        digest=sitting.digest,
    )


def _twins(found: Sequence[SittingSummary]) -> list[Oddity]:
    """Sittings with the same samples under two names: one of them would be tested on what it was trained on."""
    by_digest: dict[str, list[str]] = {}
    for sitting in found:
        by_digest.setdefault(sitting.digest, []).append(f"{sitting.part} {sitting.key}".strip())
    return [
        Oddity(level="error", code="duplicate", where=" = ".join(keys), what="they hold the same samples")
        for keys in by_digest.values()
        if len(keys) > 1
    ]


def _measured_twice(found: Sequence[SittingSummary]) -> list[Oddity]:
    """Modalities of which a sitting has several channels: the first is read, which somebody may not have meant."""
    several: dict[tuple[str, tuple[str, ...]], int] = {}
    for sitting in found:
        for modality in dict.fromkeys(c.modality for c in sitting.channels if c.modality):
            names = tuple(c.name for c in sitting.channels if c.modality == modality)
            if len(names) > 1:
                several[modality, names] = several.get((modality, names), 0) + 1
    return [
        Oddity(
            level="warning",
            code="twice",
            where=modality,
            what=f"{', '.join(names)} of {count} sitting{'s' * (count != 1)} are all {modality}: {names[0]} is read",
            todo=f'Name the one that you mean: data.signals = ["{names[0]}", ...]',
        )
        for (modality, names), count in several.items()
    ]


def _people(found: Sequence[SittingSummary], late: Sequence[str]) -> list[Oddity]:
    oddities = []
    if len({sitting.subject for sitting in found}) == 1:
        what = "one subject only: nothing can be held out, so nothing can be said about other people"
        oddities.append(Oddity(level="error", code="subjects", where=found[0].key, what=what))
    rates: dict[str, set[float]] = {}
    for sitting in found:
        for channel in sitting.channels:
            rates.setdefault(channel.name, set()).add(channel.rate_hz)
    for name, several in rates.items():
        if len(several) > 1:
            what = f"its rate differs between sittings: {', '.join(f'{rate:g}' for rate in sorted(several))} Hz"
            oddities.append(Oddity(level="warning", code="rate", where=name, what=what))
    oddities += _measured_twice(found)
    names = {sitting.key: frozenset(c.name for c in sitting.channels) for sitting in found}
    common = frozenset.union(*names.values()) if names else frozenset()
    for key, own in names.items():
        if own != common:
            what = f"it has no {', '.join(sorted(common - own))}, which others have"
            oddities.append(Oddity(level="warning", code="channels", where=key, what=what))
    if late:
        what = f"{len(late)} have less than {_CALIBRATION_S:g} s before the first stimulus: {', '.join(late[:6])}"
        oddities.append(
            Oddity(level="warning", code="calibration", where="all", what=what, todo="live-stream leaves them out")
        )
    return oddities
