"""Records of several results directories in one, as they lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from greenbench.files import unwritable, write_atomically
from greenbench.records.folders import files
from greenbench.records.store import Look, Rejected, Store, apart
from greenbench.schema.record import Record


class Merged(NamedTuple):
    """What came of it."""

    taken: int
    """Records that are there now and were not before."""
    copies: int
    """Files whose record was there already."""
    beside: int
    """Of those taken, the ones whose key another record has: another session of the same run."""
    refused: list[Rejected]


def merge(paths: Sequence[Path], output: Path, look: Look) -> Merged:
    """Copy what `look` takes for records from `paths` into the results directory `output`.

    Two of one key are both kept, the later one under the name that reports tell it by beside the other: what
    a sweep goes on from stays the one that was there first. Raises UserError where nothing can be written.
    """
    store, refused = Store(output), []
    taken = copies = beside = 0
    for file in files(paths):
        record = look(file)
        if isinstance(record, Rejected):
            refused.append(record)
            continue
        data, place = file.read_bytes(), store.record_path(record.key)
        known = [*place.parent.glob(place.name), *place.parent.glob(f"{record.key}-*.json")]
        name = apart(record) if known else record.key  # a hash of all takes as long as the rest
        if any(_is(each, data, name, look) for each in known):
            copies += 1
            continue
        _write(place.with_stem(name), data)
        taken += 1
        beside += bool(known)
    return Merged(taken, copies, beside, refused)


def _is(there: Path, data: bytes, name: str, look: Look) -> bool:
    """Whether the record of `data`, which goes by `name`, is that of the file `there`."""
    if there.read_bytes() == data:
        return True
    found = look(there)
    return isinstance(found, Record) and apart(found) == name


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, data, durable=False)
    except OSError as error:
        raise unwritable(
            f"{place} cannot be written", error, "choose another with -o DIR"
        ) from error
