"""Which files of a results directory should be records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def files(paths: Sequence[Path]) -> list[Path]:
    """The files that should be records, each once."""
    return list(dict.fromkeys(file for path in paths for file in _files(path)))


def _files(path: Path) -> list[Path]:
    """The files of `path` that should be records; itself, if it is no directory.

    A link that stays within `path` is the file that it leads to; one that leads out stays a link.
    """
    whole = Path(os.path.realpath(path))
    if not path.is_dir():
        return [whole]
    inside = whole / "records"
    if inside.is_symlink() and not _is_within(inside, whole):
        return [inside]
    folder = inside if inside.is_dir() else whole
    found = [_followed(file, whole) for file in folder.glob("*.json")]
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def _followed(file: Path, folder: Path) -> Path:
    return Path(os.path.realpath(file)) if _is_within(file, folder) else file


def _is_within(file: Path, folder: Path) -> bool:
    return Path(os.path.realpath(file)).is_relative_to(folder)
