"""Records of several results directories in one, as they lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from greenbench.files import unwritable, write_atomically
from greenbench.records.folders import files
from greenbench.records.store import Look, Rejected, Store


class Merged(NamedTuple):
    """What came of it."""

    taken: int
    """Records that are there now and were not before."""
    copies: int
    """Files whose record was there already, to the byte."""
    beside: int
    """Of those taken, the ones whose key another record has: another session of the same run."""
    refused: list[Rejected]


def merge(paths: Sequence[Path], output: Path, look: Look) -> Merged:
    """Copy what `look` takes for records from `paths` into the results directory `output`.

    Two of one key are both kept, the later one named by its content too: what a sweep goes on from stays
    the one that was there first. Raises UserError where nothing can be written.
    """
    store, refused = Store(output), []
    taken = copies = beside = 0
    for file in files(paths):
        record = look(file)
        if isinstance(record, Rejected):
            refused.append(record)
            continue
        data = file.read_bytes()
        place = store.record_path(record.key)
        named = place.with_stem(f"{record.key}-{blake3(data).hexdigest()[:8]}")
        known = [each.read_bytes() for each in (place, named) if each.exists()]
        if data in known:
            copies += 1
            continue
        place = named if known else place
        _write(place, data)
        taken += 1
        beside += place == named
    return Merged(taken, copies, beside, refused)


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, data, durable=False)
    except OSError as error:
        raise unwritable(
            f"{place} cannot be written", error, "choose another with -o DIR"
        ) from error
