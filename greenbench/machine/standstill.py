"""Whether this process stood still: stopped, frozen with its container, or asleep with the machine."""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

BEAT_S = 0.25
STILL_S = 1.0
"""Standing still for less is what a busy machine does to anyone."""
SCHEDULED = Path("/proc/self/schedstat")
"""Of the main thread: nanoseconds on a CPU, and runnable without one."""


class _Moment(NamedTuple):
    time_s: float
    """On a clock that goes on while the machine sleeps, as ``time.monotonic`` does not."""
    busy_s: float
    """What the main thread has computed, or waited for a CPU to."""


class _Beats:
    def __init__(self) -> None:
        self._last, self.stood_still = _now(), False

    def add(self) -> None:
        """One more beat."""
        now = _now()
        # A pause in which the main thread was busy is none: it held the interpreter.
        passed_s, busy_s = now.time_s - self._last.time_s, now.busy_s - self._last.busy_s
        # More than half, as a hypervisor takes time that is no one's.
        still = passed_s - busy_s >= max(STILL_S, passed_s / 2)
        self.stood_still = self.stood_still or still
        self._last = now


class Pulse:
    """Beats in a thread of its own from its making until its `codes` are asked for, or nobody holds it."""

    def __init__(self) -> None:
        self._beats, over = _Beats(), threading.Event()
        self._stop = weakref.finalize(self, over.set)
        threading.Thread(target=_beat, args=(self._beats, over), name="pulse", daemon=True).start()

    def codes(self) -> list[str]:
        """``stalled`` where the process has stood still."""
        self._stop()
        self._beats.add()
        return ["stalled"] if self._beats.stood_still else []


def _beat(beats: _Beats, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        beats.add()


def _now() -> _Moment:
    if not hasattr(time, "pthread_getcpuclockid"):  # Windows
        return _Moment(time.time(), time.process_time())
    # On a Mac it is CLOCK_MONOTONIC that goes on.
    awake_or_not = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return _Moment(time.clock_gettime(awake_or_not), _busy_s())


def _busy_s() -> float:
    with suppress(OSError):  # a kernel without it, or no Linux
        worked_ns, waited_ns, _ = SCHEDULED.read_text().split()
        return (int(worked_ns) + int(waited_ns)) / 1e9
    return time.clock_gettime(time.pthread_getcpuclockid(threading.main_thread().ident or 0))
