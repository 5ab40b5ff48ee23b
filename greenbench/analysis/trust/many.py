"""Many records, looked at by all CPUs."""

from __future__ import annotations

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
    workers = min(allowance.threads(), len(files) // FEW)
    if workers < 2:
        yield from map(function, files)
        return
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        yield from pool.map(function, files, chunksize=AT_ONCE)
