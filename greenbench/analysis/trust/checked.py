"""Records as they may be trusted: each is held against its own windows when it is read for the first time.

What came of that is kept in the cache, under the content of the file and of the code that looked at it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, Final, NamedTuple

from blake3 import blake3

from greenbench.analysis.conclusions import code
from greenbench.analysis.groups.comparable import Setting
from greenbench.analysis.groups.quick_read import Brief, brief_of
from greenbench.analysis.trust import many
from greenbench.analysis.trust.applied import false_stack
from greenbench.analysis.trust.guard import not_analysed
from greenbench.analysis.trust.joules import false_meters
from greenbench.analysis.trust.restated import (
    altered,
    false_content,
    false_key,
    false_tier,
    restated,
)
from greenbench.files import write_atomically
from greenbench.paths import cache_dir
from greenbench.records import store
from greenbench.records.folders import files
from greenbench.records.opened import Opened, opened
from greenbench.records.store import Loaded, Rejected
from greenbench.records.upgrades import NOTE
from greenbench.schema.record import Record

ANEW: Final = (
    "numbers: drawn anew from its own windows and items, as another version's code had drawn them"
)
"""Of a record that says another thing than the code of today makes of its windows."""


KEPT_S: Final = 30 * 24 * 3600.0
"""That code of another version keeps what it knows, counted from the last 1 of 256 folders that it began."""


class Kept(NamedTuple):
    """What is known of a file's content."""

    refused: str | None
    """Why it is none to be trusted."""
    holds: bool
    """Whether what it says is what its windows say."""
    brief: Brief | None
    """In short; null of one that is refused."""


def load(paths: Sequence[Path]) -> Loaded:
    """`store.load`, of records as they may be trusted; many that nobody has looked at yet take all CPUs."""
    some = files(paths)
    if many.processes(len(some)) > 1:
        new = [file for file in some if not _is_known(file)]
        if many.processes(len(new)) > 1:
            deque(many.each(shortened, new), maxlen=0)
    return store.load(paths, look)


def look(file: Path) -> Record | Rejected:
    """The record in `file`, as its windows say; or why there is none."""
    data = store.content(file)
    if isinstance(data, Rejected):
        return data
    kept = _known(file, data)
    if kept is None or not kept.holds:
        return _judged(file, data)[0]
    if kept.refused:
        return Rejected(file.name, kept.refused)
    return store.parsed(file, data)


def whole(file: Path) -> Record | Rejected:
    """The record in `file` as it was left, by its content's hash; one without a hash by `look`.

    Quicker than that, which whatever rests on the record has to do all the same: who makes up a record can
    make up its hash.
    """
    data = store.content(file)
    if isinstance(data, Rejected):
        return data
    found = opened(file, data)
    if isinstance(found, Rejected):
        return found
    if found.document.get("content") is None:
        return look(file)
    said = false_content(found.document)
    return Rejected(file.name, said) if said else found.record


def shortened(file: Path) -> Brief | Rejected:
    """The same in short."""
    data = store.content(file)
    if isinstance(data, Rejected):
        return data
    kept = _known(file, data)
    if kept is None:
        found, kept = _judged(file, data)
        if kept is None:
            return found  # type: ignore[return-value]  # of what cannot be read, nothing is known
    return kept.brief or Rejected(file.name, kept.refused or "")


class Verified(NamedTuple):
    """What a file is found to be when it is held against itself."""

    file: Path
    refused: str | None
    """Why it is none to be trusted."""
    differs: str | None
    """What it says otherwise than the code of today, where other code has said it."""


def verified(file: Path) -> Verified:
    """`file`, drawn anew from its raw readings, whatever was kept of it."""
    data = store.content(file)
    if isinstance(data, Rejected):
        return Verified(file, data.reason, None)
    found = opened(file, data)
    if isinstance(found, Rejected):
        return Verified(file, found.reason, None)
    kept, again = _held(file, found)
    differs = None if kept.holds else altered(found.record, again)
    return Verified(file, kept.refused, differs)


def _judged(file: Path, data: bytes) -> tuple[Record | Rejected, Kept | None]:
    """What `file` is, and what is kept of it; of what cannot be read at all nothing is."""
    found = opened(file, data)
    if isinstance(found, Rejected):
        return found, None
    kept, again = _held(file, found)
    _keep(data, kept)
    return (Rejected(file.name, kept.refused) if kept.refused else again), kept


def _held(file: Path, found: Opened) -> tuple[Kept, Record]:
    """What `file` holds against itself."""
    record, document = found
    by_us = record.conclusions == code()
    try:
        again = restated(record)
        false = (
            false_key(document) or false_stack(record) or false_meters(record) or false_tier(again)
        )
        said = altered(record, again)
        told = brief_of(file, again)
    except Exception as error:  # whatever somebody has written into its windows
        return Kept(not_analysed(error), holds=True, brief=None), record
    if false:
        return Kept(false, holds=True, brief=None), record
    if said is not None and by_us:
        return Kept(said, holds=True, brief=None), record
    if other := false_content(document):
        return Kept(other, holds=True, brief=None), record
    if said is None:
        same = again.techniques == record.techniques  # joules at the wall are said by no record
        return Kept(None, holds=same, brief=told), record if same else again
    return Kept(None, holds=False, brief=told), _noted(again)


def _noted(record: Record) -> Record:
    notes = record.environment.get(NOTE)
    said = [*(notes if isinstance(notes, list) else []), ANEW]
    return record.model_copy(update={"environment": record.environment | {NOTE: said}})


def _place(data: bytes) -> Path:
    name = blake3(data).hexdigest()
    return cache_dir() / "checked" / code() / name[:2] / f"{name[2:]}.json"


def _is_known(file: Path) -> bool:
    """Whether something is kept of what is in `file`, or nothing can be."""
    data = store.content(file)
    return isinstance(data, Rejected) or _place(data).exists()


def _known(file: Path, data: bytes) -> Kept | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads(_place(data).read_bytes())
        return Kept(told["refused"], told["holds"], _brief(file, told["brief"]))
    return None


def _keep(data: bytes, kept: Kept) -> None:
    place = _place(data)
    brief = kept.brief and {**kept.brief._asdict(), "path": ""}
    with suppress(OSError):  # without a place to keep it, it is looked at again
        if not (ours := place.parents[1]).exists():
            _forget(ours.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(kept._asdict() | {"brief": brief})
        write_atomically(place, text.encode(), durable=False)


def _forget(folder: Path) -> None:
    """Drop what other code has kept, and no one has added to for long."""
    for each in folder.glob("*"):
        if time.time() - each.stat().st_mtime > KEPT_S:
            rmtree(each, ignore_errors=True)


def _brief(file: Path, told: dict[str, Any] | None) -> Brief | None:
    if told is None:
        return None
    told = told | {
        "path": file,
        "identity": tuple(told["identity"]),
        "setting": Setting(*told["setting"]),
        "tests": tuple((metric, p_value) for metric, p_value in told["tests"]),
    }
    return Brief(**told)
