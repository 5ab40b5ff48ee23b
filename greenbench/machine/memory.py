"""Peak memory of one window on the host, over all processes that do the run's work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def reset_peaks(pids: Iterable[int]) -> None:
    """Start new high-water marks; a process of another user keeps its own."""
    for pid in pids:
        with suppress(OSError):
            (PROC / str(pid) / "clear_refs").write_text("5")  # proc(5): resets VmHWM


def host_peak_bytes(pids: Iterable[int]) -> int | None:
    """The high-water marks since the reset, summed; null where the kernel does not tell."""
    marks = [mark for pid in pids if (mark := _mark(pid)) is not None]
    return sum(marks) if marks else None


def _mark(pid: int) -> int | None:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", (PROC / str(pid) / "status").read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
