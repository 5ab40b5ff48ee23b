"""Records of several results directories in one, as they lie on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from blake3 import blake3

from greenbench.errors import UserError
from greenbench.files import unwritable, write_atomically
from greenbench.records.folders import files
from greenbench.records.signatures import signature_of
from greenbench.records.store import Look, Rejected, Store, apart
from greenbench.wording import plain


class Each(Protocol):
    """How a function is mapped over files."""

    def __call__(self, function: Callable[[Path], Any], files: Sequence[Path], /) -> Iterable[Any]:
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


class _Seen(NamedTuple):
    """A file that is a record."""

    key: str
    digest: str
    """Of its bytes."""


class _Placed(NamedTuple):
    taken: bool
    """Whether it was not there before."""
    known: bool
    """Whether another record had its key."""


Held: TypeAlias = defaultdict[str, dict[str, Path]]
"""By key, and by the digest of their bytes, the files of the directory that is merged into."""
Names: TypeAlias = Mapping[_Seen, str | Rejected]
"""What a record goes by beside the others of its key, of which it has some."""


def merge(paths: Sequence[Path], output: Path, look: Look, each: Each = map) -> Merged:
    """Copy what `look` takes for records from `paths` into the results directory `output`.

    `each` maps a function over files, in their order, as ``map`` does: by several processes, say.

    Two of one key are both kept, the later one under the name that reports tell it by beside the other: what
    a sweep goes on from stays the one that was there first. Raises UserError where nothing can be written.
    """
    store, there = Store(output), files(paths)
    seen = dict(zip(there, each(partial(_seen, look=look), there), strict=True))
    some = {file: found for file, found in seen.items() if isinstance(found, _Seen)}
    held = _held(store, {found.key for found in some.values()})
    names = _names(some, held, look, each)
    taken = copies = beside = 0
    refused: list[Rejected] = []
    for file, found in seen.items():
        placed = _guarded(file, found, store, held, names)
        if isinstance(placed, Rejected):
            refused.append(placed)
            continue
        taken += placed.taken
        beside += placed.taken and placed.known
        copies += not placed.taken
    return Merged(taken, copies, beside, refused)


def _seen(file: Path, look: Look) -> _Seen | Rejected:
    """The record in `file`, whatever somebody has written into it."""
    try:
        digest = _digest(file.read_bytes())
        record = look(file)
    except Exception as error:
        return _unforeseen(file, error)
    return record if isinstance(record, Rejected) else _Seen(record.key, digest)


def _name(file: Path, look: Look) -> str | Rejected:
    try:
        record = look(file)
    except Exception as error:
        return _unforeseen(file, error)
    return record if isinstance(record, Rejected) else apart(record)


def _digest(data: bytes) -> str:
    return str(blake3(data).hexdigest())


def _held(store: Store, keys: set[str]) -> Held:
    """What is there of `keys`: a look at the folder for each of them would take their square."""
    found: Held = defaultdict(dict)
    for file in sorted(store.records.glob("*.json")):
        if (key := file.stem.partition("-")[0]) in keys:
            with suppress(OSError):  # what cannot be read is no one's copy
                found[key][_digest(file.read_bytes())] = file
    return found


def _names(some: Mapping[Path, _Seen], held: Held, look: Look, each: Each) -> Names:
    """Of the records of each key that has several."""
    alike: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for file, found in some.items():
        alike[found.key].setdefault(found.digest, file)
    for key, kept in held.items():
        alike[key] |= kept
    several = {
        _Seen(key, digest): file
        for key, kept in alike.items()
        if len(kept) > 1
        for digest, file in kept.items()
    }
    return dict(zip(several, each(partial(_name, look=look), list(several.values())), strict=True))


def _guarded(
    file: Path, found: _Seen | Rejected, store: Store, held: Held, names: Names
) -> _Placed | Rejected:
    """One file that no one has foreseen leaves the others as they are."""
    if isinstance(found, Rejected):
        return found
    try:
        return _placed(file, found, store, held, names)
    except UserError:  # nothing can be written
        raise
    except Exception as error:
        return _unforeseen(file, error)


def _unforeseen(file: Path, error: Exception) -> Rejected:
    why = plain(f"{type(error).__name__}: {error}", 160).rstrip(".")
    return Rejected(file.name, f"It cannot be merged ({why}).")


def _placed(file: Path, found: _Seen, store: Store, held: Held, names: Names) -> _Placed | Rejected:
    data, known = file.read_bytes(), held[found.key]
    if _digest(data) != found.digest:
        return Rejected(file.name, "It was changed while it was merged: merge again.")
    if (there := known.get(found.digest)) is not None:
        if not signature_of(there).exists():
            _take_signature(file, there)
        return _Placed(taken=False, known=True)
    name = names.get(found, found.key)
    if isinstance(name, Rejected):
        return name
    if name in _called(found.key, known, names):  # the same record, set otherwise
        return _Placed(taken=False, known=True)
    place = store.record_path(found.key)
    place = place.with_stem(name) if known else place
    if place.exists():
        return Rejected(file.name, f"A run has left its own {place.name} meanwhile: merge again.")
    _write(place, data)
    _take_signature(file, place)
    beside, known[found.digest] = bool(known), place
    return _Placed(taken=True, known=beside)


def _called(key: str, known: Mapping[str, Path], names: Names) -> Iterator[str | Rejected]:
    return (names[_Seen(key, digest)] for digest in known)


def _take_signature(file: Path, there: Path) -> None:
    with suppress(FileNotFoundError):
        _write(signature_of(there), signature_of(file).read_bytes())


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, data, durable=False)
    except OSError as error:
        raise unwritable(
            f"{place} cannot be written", error, "choose another with -o DIR"
        ) from error
