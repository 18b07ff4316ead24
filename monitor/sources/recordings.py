"""Open a recording whatever its format: the one place that knows which reader takes which path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monitor.errors import SourceError
from monitor.sources.base import Recording
from monitor.sources.compressed import inner_suffix
from monitor.sources.csv_file import SUFFIXES as TEXT_SUFFIXES
from monitor.sources.csv_file import read_csv
from monitor.sources.e4 import find_e4_files, is_e4_file, read_e4
from monitor.sources.edf_file import SUFFIX as EDF_SUFFIX
from monitor.sources.edf_file import read_edf
from monitor.sources.opensignals import is_opensignals, read_opensignals
from monitor.sources.session_recording import SUFFIX as SESSION_SUFFIX
from monitor.sources.session_recording import read_session
from monitor.sources.wfdb_file import read_wfdb
from monitor.sources.xdf import SUFFIXES as XDF_SUFFIXES
from monitor.sources.xdf import read_xdf

_FORMATS = (
    "Formats: delimited or OpenSignals text (.csv, .txt, .tsv), XDF (.xdf), EDF and EDF+ (.edf), these also in .bz2 or "
    ".gz; a WFDB record (.hea), a session of this monitor (.session.db), or the folder of an Empatica E4 export"
)
_FILES = (*TEXT_SUFFIXES, *XDF_SUFFIXES, EDF_SUFFIX)


def open_recording(path: Path, *, rate_hz: float | None = None) -> Recording:
    """Read a recording.

    Args:
        path: A file; a folder of an Empatica E4 export or a file in it; a WFDB record with or without suffix; a session
            database of this monitor.
        rate_hz: Sampling rate for signals that state none; a stated one always goes first.

    Raises:
        SourceError: If there is no such recording, its format is not known, or nothing in it is usable.
    """
    try:
        recording = _read(Path(path))
    except OSError as error:  # a folder that may not be listed, a disk that went away
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return recording if rate_hz is None else state_rate(recording, rate_hz)


def state_rate(recording: Recording, rate_hz: float) -> Recording:
    """Return the recording with a sampling rate for every signal that states none.

    Raises:
        SourceError: If the rate is not a positive number.
    """
    if not 0.0 < rate_hz < float("inf"):
        raise SourceError(f"a sampling rate of {rate_hz} Hz is not possible", todo="State samples a second, e.g. 100")
    return replace(
        recording,
        signals=tuple(
            signal
            if signal.candidate.rate_hz is not None
            else replace(signal, candidate=replace(signal.candidate, rate_hz=rate_hz))
            for signal in recording.signals
        ),
    )


def _read(path: Path) -> Recording:
    if path.is_dir():
        if find_e4_files(path):
            return read_e4(path)
        return _refuse_folder(path)
    if path.suffix.lower() in (".hea", ".dat") or (not path.exists() and path.with_name(path.name + ".hea").exists()):
        return read_wfdb(path)
    if not path.exists():
        raise SourceError("there is no such file or folder", where=str(path), todo=_FORMATS)
    if is_e4_file(path):
        return read_e4(path.parent)
    suffix = inner_suffix(path)
    if suffix in TEXT_SUFFIXES:
        return read_opensignals(path) if is_opensignals(path) else read_csv(path)
    if suffix in XDF_SUFFIXES:
        return read_xdf(path)
    if suffix == EDF_SUFFIX:
        return read_edf(path)
    if suffix == SESSION_SUFFIX:
        return read_session(path)
    raise SourceError("the format is not known", where=str(path), todo=_FORMATS)


def _refuse_folder(path: Path) -> Recording:
    readable = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.is_file() and (entry.suffix.lower() in (".hea", SESSION_SUFFIX) or inner_suffix(entry) in _FILES)
    )
    listing = f"Name one of its files: {', '.join(readable[:8])}" + (", ..." if len(readable) > 8 else "")
    raise SourceError("the folder is no Empatica E4 export", where=str(path), todo=listing if readable else _FORMATS)
