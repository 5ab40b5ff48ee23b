"""One run at a time on one device of this machine."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from greenbench.files import locked, locked_if_free
from greenbench.paths import cache_dir

BOOT = Path("/proc/sys/kernel/random/boot_id")  # random(4): the same in all containers of a machine


@contextmanager
def device_lock(parts: Sequence[str], on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold these GPUs, by UUID, or the CPU: two runs at once on one device spoil each other's joules.

    Waits for the present holder, after telling `on_wait` once. A holder that dies lets go.
    """
    with ExitStack() as held:
        for part in sorted(parts):  # all take them in one order, lest two wait for each other
            waiting = f"Another run is using {part}: waiting for it, lest both measure each other."
            held.enter_context(locked(_file(part), waiting, on_wait))
        yield


@contextmanager
def device_lock_if_free(parts: Sequence[str]) -> Iterator[bool]:
    """As `device_lock`, unless another holds any of them: whether all are held."""
    with ExitStack() as held:
        yield all(held.enter_context(locked_if_free(_file(part))) for part in sorted(parts))


def _file(part: str) -> Path:
    name = re.sub(r"[^\w.-]", "_", part)
    return cache_dir() / "locks" / f"{name}-{machine_key()}.lock"


def machine_key() -> str:
    """This machine, since it was booted, in names of files that several may share, as homes may be."""
    boot = BOOT.read_text() if BOOT.is_file() else platform.node()
    return hashlib.sha256(boot.strip().encode()).hexdigest()[:16]
