"""How long threads have run, and waited for a processor, as Linux tells it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROCESSES = Path("/proc")


class Scheduled(NamedTuple):
    """Of one thread, since it began."""

    ran_s: float
    queued_s: float
    """It waited while others had the processor."""


def of_this_thread() -> Scheduled | None:
    """Null where the system does not say."""
    return _read(PROCESSES / "thread-self" / "schedstat")


def of_threads(pids: Iterable[int]) -> dict[tuple[int, int], Scheduled]:
    """Of each thread of `pids`, by its process and its own number; empty where the system does not say."""
    found: dict[tuple[int, int], Scheduled] = {}
    for pid in pids:
        for file in (PROCESSES / str(pid) / "task").glob("*/schedstat"):
            if seen := _read(file):
                found[pid, int(file.parent.name)] = seen
    return found


def _read(file: Path) -> Scheduled | None:
    """https://docs.kernel.org/scheduler/sched-stats.html: both in nanoseconds."""
    with suppress(OSError, ValueError):
        ran, queued = file.read_text().split()[:2]
        return Scheduled(int(ran) / 1e9, int(queued) / 1e9)
    return None
