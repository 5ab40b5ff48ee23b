"""Which processes this user's servers have started: the user's own cache has a mark of each, as what a
results directory says of a process may be anybody's."""

from __future__ import annotations

import os
import platform
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from greenbench.files import write_atomically
from greenbench.paths import cache_dir

FOLDER = "started"
"""In the cache a mark of each run, in a results directory a document and a log."""
CLOCK_S = 60.0
"""By which a process's start may seem to move: it is told from the clock, which may be set."""


class Mark(BaseModel):
    """A run and its process."""

    model_config = ConfigDict(frozen=True)

    id: str
    machine: str
    """Several may share a cache."""
    folder: str
    """Its results directory."""
    pid: int
    created_s: float
    command: list[str]


def mark(run: str, folder: Path, pid: int, command: Sequence[str]) -> None:
    """Keep that this user has started it, and forget what is over and has no document any more.

    Raises OSError where the cache cannot be written, and psutil.Error where there is no such process.
    """
    marks = cache_dir() / FOLDER
    marks.mkdir(parents=True, exist_ok=True)
    for old in filter(None, map(_read, marks.glob("*.json"))):
        if not (Path(old.folder) / FOLDER / f"{old.id}.json").exists() and _alive(old) is None:
            (marks / f"{old.id}.json").unlink(missing_ok=True)
    kept = Mark(
        id=run,
        machine=platform.node(),
        folder=str(folder.resolve()),
        pid=pid,
        created_s=psutil.Process(pid).create_time(),
        command=list(command),
    )
    write_atomically(marks / f"{run}.json", kept.model_dump_json().encode())


def marked(run: str, folder: Path) -> Mark | None:
    """The mark of a run in that results directory; null: this user has not started it on this machine."""
    with suppress(RuntimeError):  # of a user without a home
        found = _read(cache_dir() / FOLDER / f"{run}.json")
        return found if found and found.folder == str(folder.resolve()) else None
    return None


def process(run: str, folder: Path, pid: int) -> psutil.Process | None:
    """The living process of a run of this user's; null where there is none, or none of that number."""
    found = marked(run, folder)
    return _alive(found) if found and found.pid == pid else None


def plain(path: Path, owner: int | None = None) -> bytes:
    """What is in a file, of that user where one is named. Raises OSError for a link, which leads elsewhere,
    and for what is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or owner not in (None, about.st_uid):
            raise OSError(f"{path} is no file of ours")
        return file.read()


def _read(path: Path) -> Mark | None:
    """A cache may be shared: a mark counts for its owner alone, and on its own machine."""
    with suppress(OSError, ValidationError):
        found = Mark.model_validate_json(plain(path, os.geteuid()))
        return found if (found.id, found.machine) == (path.stem, platform.node()) else None
    return None


def _alive(found: Mark) -> psutil.Process | None:
    """Its process, unless another has its number by now."""
    with suppress(psutil.Error, ValueError, OverflowError):
        process = psutil.Process(found.pid)
        near = abs(process.create_time() - found.created_s) < CLOCK_S
        return process if near and process.cmdline() == found.command else None
    return None
