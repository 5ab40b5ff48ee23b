"""The results directory: write, read, resume, lock. One record is one file, whole or absent."""

from __future__ import annotations

import gc
import json
import os
import re
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from blake3 import blake3

from greenbench.errors import UserError
from greenbench.files import has_locks, locked, locked_if_free, unwritable, write_atomically
from greenbench.records.bounds import broken
from greenbench.records.calls import rebuilt
from greenbench.records.folders import files
from greenbench.records.unreadable import UNREADABLE, Refused, why
from greenbench.records.upgrades import upgraded
from greenbench.schema.record import Record

FREE_BYTES = 4 << 20  # room for a sweep's records
EARLIER = re.compile(rb'"schema_version":\s*1\b')
COPY = "It is a copy of another record."
MOST_BYTES: Final = 64 << 20
"""Of one record: a large one has under 1 MiB."""


class Rejected(NamedTuple):
    """A file that is no record we can read."""

    name: str
    """The file's name, without its directory."""
    reason: str


Look: TypeAlias = Callable[[Path], Record | Rejected]
"""Reads a file."""


class Loaded(NamedTuple):
    """What `load` found, both in a deterministic order."""

    records: list[Record]
    rejected: list[Rejected]


class Store:
    """A results directory: ``records/KEY.json`` and ``logs/KEY.log``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "records"

    def record_path(self, key: str) -> Path:
        """Where the record of `key` is, or will be."""
        return self.records / f"{key}.json"

    def log_path(self, key: str) -> Path:
        """Where the full log of `key` is, or will be."""
        return self.root / "logs" / f"{key}.log"

    def require_space(self) -> None:
        """Raise UserError unless a few MiB can be written, before anything is measured in vain."""
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.records) as probe:
                probe.write(bytes(FREE_BYTES))
                probe.flush()
        except OSError as error:
            raise unwritable(
                f"The results directory {self.root} cannot take {FREE_BYTES >> 20} MiB",
                error,
                "choose another with results=DIRECTORY",
            ) from error

    def write(self, record: Record) -> Path:
        """Write `record` atomically and durably, replacing an earlier one; return its path.

        Raises UserError where that fails; the record is then rescued to the temporary directory.
        """
        path, data = self.record_path(record.key), canonical(record)
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            said = f"{path} cannot be written ({error.strerror}): free some space and "
            raise UserError(f"{said}{_rescue(path, data)}.") from error
        return path

    def read(self, key: str, look: Look | None = None) -> Record | None:
        """The record of `key` as `look` reads it, as in `load`; null where there is none."""
        record = (look or parse)(self.record_path(key))
        return record if isinstance(record, Record) and record.key == key else None

    def set_aside(self, key: str) -> Path | None:
        """Where what is in the place of the record of `key` is from now on; null where nothing is."""
        path = self.record_path(key)
        aside = path.with_name(f"{path.name}.refused")
        with suppress(FileNotFoundError):
            return path.rename(aside)
        return None

    @contextmanager
    def claim(self, key: str, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Hold the right to run `key`, against every other sweep in this results directory.

        Waits for the present holder, after telling `on_wait` once; look again whether `key` is
        completed then. A holder that dies, however it dies, lets go. Take `device_lock` after it. Where there
        are no locks two sweeps may measure the same, and each leaves a whole record.
        """
        waiting = f"Another sweep is running {key}: waiting for it."
        with locked(self._lock(key), waiting, on_wait, needed=False):
            self._tidy(key)
            yield

    @contextmanager
    def claim_if_free(self, key: str) -> Iterator[bool]:
        """The same without waiting: whether it is held."""
        with locked_if_free(self._lock(key), needed=False) as mine:
            if mine:
                self._tidy(key)
            yield mine

    def _tidy(self, key: str) -> None:
        for abandoned in self.records.glob(f".{key}.*.tmp") if has_locks(self.root) else ():
            abandoned.unlink(missing_ok=True)

    def _lock(self, key: str) -> Path:
        return self.root / ".locks" / f"{key}.lock"


def canonical(record: Record) -> bytes:
    """A record as it is stored, with the hash of its content: the same record gives the same bytes."""
    document = sealed(json.loads(record.model_dump_json()))
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The `document` of a record with the hash of what it says by now."""
    return {**document, "content": content_hash(document)}


def content_hash(document: Mapping[str, Any]) -> str:
    """BLAKE3 over all that a record's `document` says but the hash itself."""
    rest = {name: value for name, value in document.items() if name != "content"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return str(blake3(text.encode(errors="surrogatepass")).hexdigest())


def load(paths: Sequence[Path], look: Look | None = None) -> Loaded:
    """Read all records from results directories, directories of records, and single files, by `look`.

    Never fails: what is no record, is of a newer version, or is a copy of one, is listed as
    rejected; one of an earlier version is upgraded. Two runs of one key, as two machines leave
    them, are both kept. Without `look` they are taken at their word.
    """
    records: dict[tuple[str, ...], list[Record]] = {}
    rejected = []
    with collector_paused():
        for file in files(paths):
            found = (look or parse)(file)
            if isinstance(found, Rejected):
                rejected.append(found)
            elif found in (alike := records.setdefault(identity(found), [])):
                rejected.append(Rejected(file.name, COPY))
            else:
                alike.append(found)
    ordered = [record for key in sorted(records) for record in _ordered(records[key])]
    return Loaded(ordered, sorted(rejected))


def require_records(
    paths: Sequence[Path], records: Sequence[Record], rejected: Sequence[Rejected]
) -> None:
    """Raise UserError, one sentence, where `paths` gave no record, or a file given by itself is none."""
    for path in paths:
        for none in rejected:
            if none.name == Path(os.path.realpath(path)).name and path.is_file():
                raise UserError(f"{path} is no record: {none.reason}")
    require_files(paths)
    if not records:
        first, count = rejected[0], len(rejected)
        raise UserError(
            f"No file of the {count} in {' and '.join(map(str, paths))} is a record "
            f"({first.name}: {first.reason.rstrip('.')}): give the results directory of a bench."
        )


def require_files(paths: Sequence[Path]) -> None:
    """Raise UserError, one sentence, where one of `paths` has nothing that could be a record."""
    for path in paths:
        if not path.exists() or not files([path]):
            raise UserError(
                f"There is no record in {path}: give the results directory of a bench, or run "
                "`greenbench bench` first."
            )


def _ordered(alike: list[Record]) -> list[Record]:
    return sorted(alike, key=canonical) if len(alike) > 1 else alike


def told_apart(records: Iterable[Record]) -> dict[int, str]:
    """What each goes by, by its ``id``: its key, and where several have that one, its content's hash too."""
    all_of_them = list(records)
    uses = Counter(record.key for record in all_of_them)
    return {
        id(record): record.key if uses[record.key] == 1 else apart(record) for record in all_of_them
    }


def apart(record: Record) -> str:
    """What it goes by beside another of its key: that and the beginning of its content's hash."""
    return f"{record.key}-{content_hash(json.loads(record.model_dump_json()))[:8]}"


def identity(record: Record) -> tuple[str, str, str]:
    """What two records can only share if one is a copy, or by a rare chance."""
    return record.name, record.key, record.started_at


def parse(file: Path) -> Record | Rejected:
    """The record in `file`, or why there is none."""
    data = content(file)
    return data if isinstance(data, Rejected) else parsed(file, data)


def content(file: Path) -> bytes | Rejected:
    """What is in `file`, or why it is not read."""
    try:
        return _content(file)
    except UNREADABLE as error:
        return Rejected(file.name, why(error))


def parsed(file: Path, data: bytes, document: Any = None) -> Record | Rejected:
    """The record in `data`, the content of `file` and, if given, of `document`; or why there is none."""
    try:
        return _parse(data, document)
    except UNREADABLE as error:
        return Rejected(file.name, why(error))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Records are many objects without cycles: looking for some takes as long as reading them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parse(data: bytes, document: Any = None) -> Record:
    """The record in `data`, upgraded where it is of an earlier version. Raises ValidationError or Refused."""
    if EARLIER.search(data) and (later := _upgraded(data)):
        record = Record.model_validate(later)
    elif document is not None:
        record = Record.model_validate(document)
    else:
        record = Record.model_validate_json(data)  # nearly every record: read without a detour
    if said := broken(record):
        raise Refused(said)
    told = rebuilt(record.command, record.spec)
    return record.model_copy(update={"command": told, "content": None})  # the hash is the file's


def _content(file: Path) -> bytes:
    """The bytes of `file`. Raises OSError, or Refused for what no record of a folder is."""
    if file.is_symlink():
        raise Refused("It is a link that leads out of its folder, and is not followed.")
    if file.stat().st_size > MOST_BYTES:
        raise Refused(f"It is over {MOST_BYTES >> 20} MiB, the most that a record may have.")
    return file.read_bytes()


def _upgraded(data: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        return upgraded(json.loads(data))
    return None


def _rescue(path: Path, data: bytes) -> str:
    """Keep a record that cannot be where it belongs; return what the user should do then."""
    try:
        rescued = Path(tempfile.gettempdir()) / f"greenbench-{uuid.uuid4().hex}-{path.name}"
        write_atomically(rescued, data)
    except OSError:
        return "run it again, as its record could be rescued nowhere"
    return f"move its record there from {rescued}"
