"""Files that are whole or absent, and locks that a holder who dies lets go."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from greenbench.errors import UserError
from greenbench.paths import cache_dir

POLL_S = 1.0  # a waiting sweep must not disturb the one that measures


def unwritable(what: str, error: OSError, choose: str) -> UserError:
    """The sentence on what cannot be written: `what`, why, and what to do, `choose` in any case."""
    why, free = error.strerror, ""
    if isinstance(error, FileExistsError | NotADirectoryError):
        why = "it is, or lies in, a file and no directory"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = "free some space or "
    return UserError(f"{what} ({why}): {free}{choose}.")


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data`: readers see the old file or the new one, even across a crash of the machine.

    Not `durable` does not wait for the disk, for what can be made again after such a crash.
    """
    with replaced(path, durable=durable) as fresh:
        fresh.write_bytes(data)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write all of `contents`, or nothing where there is no room for all; the first takes its place last."""
    with ExitStack() as whole:
        for path, data in contents.items():
            whole.enter_context(replaced(path, durable=False)).write_bytes(data)


@contextmanager
def replaced(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Where to write what takes the place of `path`, whole, when the block ends without an error."""
    fresh = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        yield fresh
        if durable:
            _sync(fresh)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    if durable:
        with suppress(
            OSError
        ):  # some network file systems cannot; the file is in place all the same
            _sync(path.parent)


def require_cache() -> None:
    """Raise UserError, in one sentence, unless `cache_dir` can be written."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_dir()):
            pass
    except (OSError, RuntimeError) as error:  # the latter of a user without a home
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"The cache directory cannot be written ({str(why).rstrip('.')}): say where it may be with "
            "the environment variable GREENBENCH_CACHE."
        ) from error


def made_once(target: Path, make: Callable[[Path], object]) -> Path:
    """The folder `target`, whole: `make` fills it where it is not there yet.

    Of two processes at once one makes it and the other waits. What a killed one had begun is no one's.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as work:
                fresh = Path(work) / target.name
                fresh.mkdir()
                make(fresh)
                fresh.rename(target)
    return target


def _sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(
    path: Path, waiting: str, on_wait: Callable[[str], None], *, needed: bool = True
) -> Iterator[None]:
    """Hold the lock `path`; tells `on_wait` once, in the words `waiting`, where another has it.

    Where its file system has no locks, raises UserError if it is `needed`, and else goes on without.
    """
    if not _may_lock(path, needed=needed):
        yield
        return
    lock = FileLock(path, poll_interval=POLL_S)
    if not _acquire(lock, timeout_s=0):
        on_wait(waiting)
        _acquire(lock, timeout_s=-1)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_free(path: Path, *, needed: bool = True) -> Iterator[bool]:
    """Hold the lock `path` unless another has it: whether it is held. Without locks, as `locked`."""
    if not _may_lock(path, needed=needed):
        yield True
        return
    lock = FileLock(path, poll_interval=POLL_S)
    mine = _acquire(lock, timeout_s=0)
    try:
        yield mine
    finally:
        lock.release()


@cache
def has_locks(folder: Path) -> bool:
    """Whether the file system of `folder`, which is there, has locks (flock(2)): one of a network may not."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
    return True


def _may_lock(path: Path, *, needed: bool) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if has_locks(path.parent):
            return True
    except OSError:  # making the lock will say it
        return True
    if needed:
        raise UserError(
            f"The file system of {path.parent} has no locks, and two runs on one device would spoil each "
            "other: set GREENBENCH_CACHE to a directory of this machine."
        )
    return False


def _acquire(lock: FileLock, timeout_s: float) -> bool:
    """Whether `lock` was had in time; a negative time is for ever. Raises UserError."""
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return False
    except OSError as error:
        raise unwritable(
            f"The lock file {path} cannot be made", error, "choose another directory"
        ) from error
    return True
