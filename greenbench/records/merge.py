"""Records of several results directories in one, as they lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from greenbench.errors import UserError
from greenbench.files import unwritable, write_atomically
from greenbench.records.folders import files
from greenbench.records.signatures import signature_of
from greenbench.records.store import Look, Rejected, Store, apart
from greenbench.schema.record import Record
from greenbench.wording import plain


class Each(Protocol):
    """How a function is mapped over files."""

    def __call__(
        self, function: Callable[[Path], str | Rejected], files: Sequence[Path], /
    ) -> Iterable[str | Rejected]:
        """Its answers, in the order of the files."""


class Merged(NamedTuple):
    """What came of it."""

    taken: int
    """Records that are there now and were not before."""
    copies: int
    """Files whose record was there already."""
    beside: int
    """Of those taken, the ones whose key another record has: another session of the same run."""
    refused: list[Rejected]


def merge(paths: Sequence[Path], output: Path, look: Look, each: Each = map) -> Merged:
    """Copy what `look` takes for records from `paths` into the results directory `output`.

    `each` maps a function over files, in their order, as ``map`` does: by several processes, say.

    Two of one key are both kept, the later one under the name that reports tell it by beside the other: what
    a sweep goes on from stays the one that was there first. Raises UserError where nothing can be written.
    """
    store = Store(output)
    taken = copies = beside = 0
    refused: list[Rejected] = []
    there = files(paths)
    for file, key in zip(there, each(partial(_key, look=look), there), strict=True):
        found = key if isinstance(key, Rejected) else _guarded(file, key, store, look)
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


def _key(file: Path, look: Look) -> str | Rejected:
    """Of the record in `file`, whatever somebody has written into it."""
    try:
        record = look(file)
    except Exception as error:
        return _unforeseen(file, error)
    return record if isinstance(record, Rejected) else record.key


def _guarded(file: Path, key: str, store: Store, look: Look) -> _Placed | Rejected:
    """One file that no one has foreseen leaves the others as they are."""
    try:
        return _placed(file, key, store, look)
    except UserError:  # nothing can be written
        raise
    except Exception as error:
        return _unforeseen(file, error)


def _unforeseen(file: Path, error: Exception) -> Rejected:
    why = plain(f"{type(error).__name__}: {error}", 160).rstrip(".")
    return Rejected(file.name, f"It cannot be merged ({why}).")


def _placed(file: Path, key: str, store: Store, look: Look) -> _Placed | Rejected:
    data, place = file.read_bytes(), store.record_path(key)
    known = [*place.parent.glob(place.name), *place.parent.glob(f"{key}-*.json")]
    name = key
    if known:
        record = look(file)
        if isinstance(record, Rejected):  # it was changed meanwhile
            return record
        name = apart(record)
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
