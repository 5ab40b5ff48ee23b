"""Many records, looked at by all CPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeVar

from greenbench.machine import allowance

Found = TypeVar("Found")
FEW: Final = 64
"""Of so many files the processes would cost more than they save."""
AT_ONCE: Final = 16


def each(function: Callable[[Path], Found], files: Sequence[Path]) -> Iterator[Found]:
    """What `function` says of each of `files`, in their order."""
    workers = processes(len(files))
    if workers < 2:
        yield from map(function, files)
        return
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        yield from pool.map(function, files, chunksize=AT_ONCE)


def processes(files: int) -> int:
    """How many so many files are shared out to: one where they are few, or where another thread of this
    process could hold a lock, which a fork of it would wait for without end."""
    if threading.active_count() > 1:
        return 1
    return max(1, min(allowance.threads(), files // FEW))
