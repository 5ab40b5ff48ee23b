"""Files that are whole or absent, and locks that a holder who dies lets go."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from greenbench.errors import UserError

POLL_S = 1.0  # a waiting sweep must not disturb the one that measures


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data`: readers see the old file or the new one, even across a crash of the machine.

    Not `durable` does not wait for the disk, for what can be made again after such a crash.
    """
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        with partial.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if not durable:
        return
    with suppress(OSError):  # some network file systems cannot; the record is in place all the same
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path, waiting: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(path, poll_interval=POLL_S)
    if not _acquire(lock, timeout_s=0):
        on_wait(waiting)
        _acquire(lock, timeout_s=-1)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, timeout_s: float) -> bool:
    """Whether `lock` was had in time; a negative time is for ever. Raises UserError."""
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return False
    except OSError as error:
        raise UserError(
            f"The lock file {path} cannot be made ({error.strerror}): free some space there or "
            "choose another directory."
        ) from error
    return True
