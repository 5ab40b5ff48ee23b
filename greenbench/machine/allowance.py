"""The CPUs and the memory that this process may use: what affinity and its control groups leave.

Control groups nest and each may set a limit, of which the least holds. In a container the path that
the kernel tells may be the host's, of which only the upper end exists here: so every folder from the
group's own up to the root is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path("/")


class _Files(NamedTuple):
    """What a version of control groups calls the memory's files, and the reclaimable part."""

    limits: tuple[str, ...]
    used: str
    reclaimable: str


MEMORY = (
    _Files(("memory.max", "memory.high"), "memory.current", "inactive_file"),
    _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
)
"""https://docs.kernel.org/admin-guide/cgroup-v2.html, and v1's memory.html."""


def cpus(root: Path = ROOT) -> float:
    """Logical CPUs, which a quota may make a fraction."""
    return min([float(_affinity()), *_quotas(root), *_of_a_slurm_job()])


def threads(root: Path = ROOT) -> int:
    """Threads that these CPUs can run at once, at least 1."""
    return max(1, int(cpus(root)))


def memory_bytes(root: Path = ROOT) -> int:
    """All that this process could ever have."""
    total: int = psutil.virtual_memory().total
    return min([total, *(limit for limit, _ in _limits(root))])


def available_bytes(root: Path = ROOT) -> int:
    """What it could have now, what others of its groups hold taken off."""
    free: int = psutil.virtual_memory().available
    return max(0, min([free, *(limit - used for limit, used in _limits(root))]))


def _of_a_slurm_job() -> list[float]:
    """CPUs of a task, which nothing may bind it to (srun(1)); nothing elsewhere."""
    said = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return [float(said)] if said.isdigit() and int(said) else []


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """CPUs by each group's quota of time."""
    for folder in _folders("cpu", root):
        first = [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
        for words in (_words(folder / "cpu.max"), first):  # by the second version, by the first
            if len(words) == 2 and all(map(str.isdigit, words)):  # else there is none: "max", or -1
                yield int(words[0]) / int(words[1])


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Each group's limit in bytes, and how much of it is in use and cannot be had back."""
    for folder in _folders("memory", root):
        for files in MEMORY:
            used = sum(map(int, _words(folder / files.used)))
            stat = " ".join(_words(folder / "memory.stat"))
            found = re.search(rf"\b{files.reclaimable} (\d+)", stat)
            held = used - int(found[1]) if found else used
            for name in files.limits:
                yield from ((int(word), held) for word in _words(folder / name) if word.isdigit())


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """Of the groups that may limit this process by `controller`, in either version, innermost first."""
    top = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = top / controllers  # of the second version, which names none, the top itself
        parts = [part for part in path.split("/") if part not in ("", "..")]
        yield from (base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(errors="replace").splitlines()
    return []
