"""Records by the names that reports tell them by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from greenbench.records.folders import files
from greenbench.records.store import Look, apart, told_apart
from greenbench.schema.record import Record


class Named(NamedTuple):
    """A record, and where it lies."""

    file: Path
    record: Record


def named(folder: Path, asked: str, look: Look) -> dict[str, Named]:
    """What in `folder` goes by the name `asked`, else all whose name begins so; copies are one.

    A file is usually called by the key of its record, but may be called anything.
    """
    key, everything = asked.partition("-")[0], files([folder])
    for some in (_called(everything, key), _holding(everything, key)):
        read = {
            apart(record): Named(file, record)
            for file in some
            if isinstance(record := look(file), Record)
        }
        names = told_apart(record for _, record in read.values())
        found = {names[id(each.record)]: each for each in read.values()}
        if asked in found:
            return {asked: found[asked]}
        if begin := {name: each for name, each in found.items() if name.startswith(asked)}:
            return begin
    return {}


def meant(path: Path, look: Look) -> Path:
    """The file of the record that `path` is the name of in reports, where no file is called so."""
    if path.exists() or path.suffix != ".json" or not path.parent.is_dir():
        return path
    found = named(path.parent, path.stem, look)
    return found[path.stem].file if path.stem in found else path


def _called(some: list[Path], key: str) -> list[Path]:
    return [file for file in some if file.name.startswith(key)]


def _holding(some: list[Path], key: str) -> Iterator[Path]:
    """Those in which the key stands somewhere: quicker to tell than what record each is."""
    for file in some:
        with suppress(OSError):
            if key.encode() in file.read_bytes():
                yield file
