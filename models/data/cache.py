"""Sittings as memory-mapped arrays: text is parsed once, and a file that changes is parsed again.

A sitting's folder is named by a hash of the names, sizes and times of its files, of how they are read, and of the
version of the loaders. It is written beside its place and moved there whole, so that a run that was killed, or two at
once, leave no half of one. What lies here is a copy of the data, under the same agreement as they: it is made for its
user's eyes only, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.recorded import Channel, Oddity, Rating, Sitting, SittingFiles, Stretch, Track, Trial
from monitor.errors import SourceError

LOADER_VERSION: Final = 1
"""Counts up whenever all loaders read the same files differently."""
_RENEWED: Final[Mapping[str, int]] = MappingProxyType({"ai4pain-2025": 1, "pmcd": 1, "pmed": 1})
"""How often the loader of one kind, or the way its windows are cut, has changed by itself."""


def loader_version(kind: str) -> int:
    """Which way of reading a kind of data: part of the key of everything that was read."""
    return LOADER_VERSION + _RENEWED.get(kind, 0)


_META: Final = "sitting.json"
_log = logging.getLogger(__name__)


class CacheError(SourceError):
    """The cache cannot be written: no fault of the data, and none that leaving somebody out would mend."""


class Cache:
    """A folder of sittings that were read before.

    Args:
        folder: Made where it is not there.
        options: What else decides what is read (kind, columns, units): part of every key.

    Raises:
        SourceError: If the folder cannot be made.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self.folder = folder
        self._kind = str(options.get("kind"))
        self._options = json.dumps(options, sort_keys=True, default=str)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SourceError(
                f"the cache cannot be made: {error.strerror or error}", where=str(folder), todo="Mend data.cache"
            ) from error

    def load(self, files: SittingFiles) -> Sitting:
        """Read a sitting from the cache, or from its files and into the cache.

        Raises:
            SourceError: If its files are damaged.
            CacheError: If the cache cannot be written.
        """
        place = self.folder / f"{_safe(files.key)}-{self.key(files)}"
        if place.exists():
            try:
                return _open(place)
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("the cache %s is damaged and made anew: %s", place, error)
                shutil.rmtree(place, ignore_errors=True)
        sitting = files.read()
        try:
            self._write(sitting, place)
            return _open(place)
        except OSError as error:
            raise CacheError(
                f"the cache cannot be written: {error.strerror or error}",
                where=str(self.folder),
                todo="Make room, or name another folder in data.cache",
            ) from error

    def key(self, files: SittingFiles) -> str:
        """Hash of what a sitting is made of."""
        digest = hashlib.blake2b(f"{loader_version(self._kind)}\n{self._options}\n".encode(), digest_size=12)
        for path in files.files:
            try:
                stat = path.stat()
                entry = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}\n"
            except FileNotFoundError:
                entry = f"{path}|missing\n"
            digest.update(entry.encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _write(self, sitting: Sitting, place: Path) -> None:
        fresh = Path(tempfile.mkdtemp(dir=self.folder, prefix=".writing-"))  # only its user may read it
        try:
            (fresh / _META).write_text(json.dumps(_pack(sitting, fresh)), encoding="utf-8")
            try:
                fresh.rename(place)
            except OSError:
                if not (place / _META).is_file():  # else another process was faster, with the same content
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:80].lstrip(".")


def _pack(sitting: Sitting, folder: Path) -> dict[str, Any]:
    """Write the arrays, one file a channel, and return all else."""
    digest = hashlib.blake2b(digest_size=16)
    layout = []
    for number, channel in enumerate(sitting.channels):
        tracks = [stretch.tracks.get(channel.name) for stretch in sitting.stretches]
        there = [track for track in tracks if track is not None]
        samples = np.concatenate([track.samples for track in there]) if there else np.empty(0)
        np.save(folder / f"{number}.npy", np.ascontiguousarray(samples, dtype=np.float32))
        digest.update(np.ascontiguousarray(samples, dtype=np.float32))
        stamped = [track.stamps for track in there if track.stamps is not None]
        if stamped:
            np.save(folder / f"{number}.stamps.npy", np.concatenate(stamped))
        layout.append(
            [None if t is None else [len(t.samples), t.t_first, t.stamps is not None] for t in tracks],
        )
    return {
        "subject": sitting.subject,
        "session": sitting.session,
        "part": sitting.part,
        "classes": list(sitting.classes),
        "channels": [asdict(channel) for channel in sitting.channels],
        "stretches": [{"name": s.name, "start_s": s.start_s} for s in sitting.stretches],
        "layout": layout,
        # field by field: asdict would copy the read-only mappings, which cannot be copied
        "trials": [{n: _plain(getattr(trial, n)) for n in Trial.__slots__} for trial in sitting.trials],
        "ratings": [asdict(rating) for rating in sitting.ratings],
        "oddities": [asdict(oddity) for oddity in sitting.oddities],
        "facts": dict(sitting.facts),
        "digest": digest.hexdigest(),
    }


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _open(place: Path) -> Sitting:
    meta = json.loads((place / _META).read_text(encoding="utf-8"))
    channels = tuple(Channel(**fields) for fields in meta["channels"])
    tracks: list[dict[str, Track]] = [{} for _ in meta["stretches"]]
    for number, (channel, entries) in enumerate(zip(channels, meta["layout"], strict=True)):
        samples = _mapped(place / f"{number}.npy")
        stamps = _mapped(place / f"{number}.stamps.npy") if any(e and e[2] for e in entries) else None
        _fill(tracks, channel.name, entries, samples, stamps)
    return Sitting(
        subject=meta["subject"],
        session=meta["session"],
        part=meta["part"],
        classes=tuple(meta["classes"]),
        channels=channels,
        stretches=tuple(
            Stretch(name=s["name"], start_s=s["start_s"], tracks=found)
            for s, found in zip(meta["stretches"], tracks, strict=True)
        ),
        trials=tuple(Trial(**fields) for fields in meta["trials"]),
        ratings=tuple(Rating(**fields) for fields in meta["ratings"]),
        oddities=tuple(Oddity(**fields) for fields in meta["oddities"]),
        facts=meta["facts"],
        digest=meta["digest"],
    )


def _fill(
    tracks: Sequence[dict[str, Track]], name: str, entries: Sequence[Any], samples: NDArray[Any], stamps: Any
) -> None:
    at = stamped = 0
    for found, entry in zip(tracks, entries, strict=True):
        if entry is None:
            continue
        count, t_first, has_stamps = entry
        own = stamps[stamped : stamped + count] if has_stamps else None
        found[name] = Track(samples=samples[at : at + count], t_first=t_first, stamps=own)
        at += count
        stamped += count if has_stamps else 0
    if at != len(samples):
        raise ValueError(f"{name} has {len(samples)} samples instead of {at}")


def _mapped(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped
        return np.load(path, allow_pickle=False)
