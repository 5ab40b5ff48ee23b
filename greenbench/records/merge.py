"""Records of several results directories in one, as they lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from greenbench.errors import UserError
from greenbench.files import unwritable, write_atomically
from greenbench.records.folders import files
from greenbench.records.signatures import signature_of
from greenbench.records.store import Look, Rejected, Store, apart
from greenbench.schema.record import Record
from greenbench.wording import plain


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
    store = Store(output)
    taken = copies = beside = 0
    refused: list[Rejected] = []
    for file in files(paths):
        found = _guarded(file, store, look)
        if isinstance(found, Rejected):
            refused.append(found)
            continue
        taken += found.taken
        beside += found.taken and found.known
        copies += not found.taken
    return Merged(taken, copies, beside, refused)


class _Placed(NamedTuple):
    taken: bool
    """Whether it was not there before."""
    known: bool
    """Whether another record had its key."""


def _guarded(file: Path, store: Store, look: Look) -> _Placed | Rejected:
    """One file that no one has foreseen leaves the others as they are."""
    try:
        return _placed(file, store, look)
    except UserError:  # nothing can be written
        raise
    except Exception as error:
        why = plain(f"{type(error).__name__}: {error}", 160).rstrip(".")
        return Rejected(file.name, f"It cannot be merged ({why}).")


def _placed(file: Path, store: Store, look: Look) -> _Placed | Rejected:
    record = look(file)
    if isinstance(record, Rejected):
        return record
    data, place = file.read_bytes(), store.record_path(record.key)
    known = [*place.parent.glob(place.name), *place.parent.glob(f"{record.key}-*.json")]
    name = apart(record) if known else record.key  # a hash of all takes as long as the rest
    there = next((each for each in known if _is(each, data, name, look)), None)
    if there is not None:
        if there.read_bytes() == data and not signature_of(there).exists():
            _take_signature(file, there)
        return _Placed(taken=False, known=True)
    _write(place.with_stem(name), data)
    _take_signature(file, place.with_stem(name))
    return _Placed(taken=True, known=bool(known))


def _take_signature(file: Path, there: Path) -> None:
    with suppress(FileNotFoundError):
        _write(signature_of(there), signature_of(file).read_bytes())


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
