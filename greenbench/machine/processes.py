"""The processes that do a run's work: this one, its descendants, and those that an engine names."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

PROC = Path("/proc")
PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the one that started it is gone, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it had ended before
        os.kill(os.getpid(), signal.SIGTERM)


class OwnProcesses:
    """What a run's own processes have used so far, all threads included.

    Descendants are looked for at the edges of windows, by `refresh`. One that was born and has ended
    in between counts as well: its parent knows what it used.
    """

    def __init__(self) -> None:
        self._named: frozenset[int] = frozenset()
        # Named, and no descendants: nobody here knows what they used once they have ended.
        self._servers: frozenset[int] = frozenset()
        self._others: frozenset[int] = frozenset()
        self._last_s: dict[int, float] = {}
        self._most_s = 0.0

    @property
    def pids(self) -> frozenset[int]:
        """All of them, this one included, as of the last look."""
        return self._others | {os.getpid()}

    @property
    def named(self) -> frozenset[int]:
        """Those that an engine has named and that live."""
        return frozenset(pid for pid in self._named if psutil.pid_exists(pid))

    def add(self, pids: Iterable[int]) -> None:
        """Count these, and their descendants, as well."""
        self._named |= frozenset(pids) - {os.getpid()}
        self._servers |= self._named - frozenset(_descendants(os.getpid()))
        self.refresh()

    def refresh(self) -> None:
        """Look for descendants anew."""
        found = {pid for root in (os.getpid(), *self._named) for pid in _descendants(root)}
        self._others = frozenset(found | self._named)

    def cpu_s(self) -> float:
        """CPU seconds so far; never decreases."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # finer than the ticks of os.times
        total_s = time.process_time() + ended.ru_utime + ended.ru_stime
        for pid in self._others:
            with suppress(OSError, psutil.Error):
                self._last_s[pid] = _cpu_s(pid)
            if psutil.pid_exists(pid) or pid in self._servers:  # else its parent counts it
                total_s += self._last_s.get(pid, 0.0)
        self._most_s = max(self._most_s, total_s)
        return self._most_s

    def cpu_s_of(self, pids: Iterable[int]) -> float:
        """CPU seconds that those of `pids` which live have used."""
        total_s = 0.0
        for pid in pids:
            with suppress(OSError, psutil.Error):
                total_s += _cpu_s(pid)
        return total_s

    def held_bytes(self) -> int:
        """Memory that they hold now; pages that several share count for each."""
        total = 0
        for pid in self.pids:
            with suppress(psutil.Error):
                total += int(psutil.Process(pid).memory_info().rss)
        return total


def _descendants(pid: int) -> list[int]:
    """Within a window this must take no time that is worth a name: psutil reads every process."""
    tasks = PROC / str(pid) / "task"
    if not (tasks / str(pid) / "children").exists():  # a kernel without CONFIG_PROC_CHILDREN
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    children: list[int] = []
    with suppress(OSError):
        for task in tasks.iterdir():
            with suppress(OSError):
                children += map(int, (task / "children").read_text().split())
    return [*children, *(pid for child in children for pid in _descendants(child))]


def _cpu_s(pid: int) -> float:
    """Of the process and of those of its children that have ended. Raises OSError or psutil.Error."""
    times = psutil.Process(pid).cpu_times()
    reaped_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    if not hasattr(time, "clock_gettime"):
        return float(times.user + times.system + reaped_s)
    # clock_getcpuclockid(3): finer than the ticks of /proc by far
    return time.clock_gettime((~pid << 3) | 2) + float(reaped_s)
