"""The one place that knows which loader takes which kind of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.data.ai4pain import open_ai4pain
from models.data.biovid import open_biovid
from models.data.cache import Cache
from models.data.own import open_own
from models.data.painmonit import open_painmonit
from models.data.recorded import DataSet
from models.data.settings import DataSettings
from models.data.simulated_cohort import open_simulated
from monitor.errors import SourceError

_OPEN: Final[Mapping[str, Callable[[DataSettings], DataSet]]] = MappingProxyType(
    {
        "biovid-a": open_biovid,
        "biovid-b": open_biovid,
        "biovid-c": open_biovid,
        "ai4pain-2025": open_ai4pain,
        "ai4pain-2026": open_ai4pain,
        "pmed": open_painmonit,
        "pmcd": open_painmonit,
        "e4": open_own,
        "xdf": open_own,
        "sessions": open_own,
        "simulated": open_simulated,
    }
)

_NOT_READ: Final = frozenset({"path", "cache", "subjects", "leave_out", "train", "validation", "calibration", "test"})
"""Settings that do not change what is read of a sitting; the path is in the names of its files."""


def open_data(settings: DataSettings) -> DataSet:
    """List what a configuration names; samples are read when they are asked for, through the cache.

    Args:
        settings: As `load_data_settings` gives them, with absolute paths.

    Raises:
        SourceError: If the folder cannot be read, is empty or another data set's, a named subject is not there, or the
            cache cannot be made.
    """
    try:
        found = _OPEN[str(settings.kind)](settings)
    except OSError as error:  # a folder that may not be listed, a disk that is gone
        where = str(error.filename or settings.path)
        raise SourceError(
            f"cannot be read: {error.strerror or error}", where=where, todo="May you read it, and is its disk there?"
        ) from None
    unknown = [name for name in (*settings.subjects, *settings.leave_out) if name not in found.subjects]
    if unknown:
        raise SourceError(
            f"there is no subject {', '.join(unknown)}",
            where=str(found.root),
            todo=f"Mend data.subjects or data.leave_out; there are {', '.join(found.subjects[:12])}"
            + (", ..." if len(found.subjects) > 12 else ""),
        )
    keep = set(settings.subjects or found.subjects) - set(settings.leave_out)
    sittings = tuple(sitting for sitting in found.sittings if sitting.subject in keep)
    if not sittings:
        raise SourceError("no subject is left", where=str(found.root), todo="Mend data.subjects or data.leave_out")
    cache = Cache(Path(settings.cache), settings.model_dump(mode="json", exclude=set(_NOT_READ)))
    return replace(found, sittings=sittings, load=cache.load)
