"""Folders as archives and disks leave them: one level too deep, in another case, or with a system's own files."""

from __future__ import annotations

from pathlib import Path


def one_level_down(folder: Path, name: str) -> Path:
    """The folder, or the one of the same name in it, as some archives unpack (`a/a/...`)."""
    return folder / name if (folder / name).is_dir() else folder


def csv_files(folder: Path) -> list[Path]:
    """Its CSV files by name, without hidden ones: a Mac puts `._1.csv` beside `1.csv` on a foreign disk."""
    return sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))


def find_folder(parent: Path, name: str) -> Path | None:
    """A folder by name in any case; None where there is none."""
    if not parent.is_dir():
        return None
    exact = parent / name
    if exact.is_dir():
        return exact
    return next((e for e in sorted(parent.iterdir()) if e.is_dir() and e.name.lower() == name.lower()), None)
