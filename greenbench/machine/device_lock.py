"""One run at a time on one device of this machine."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenbench.files import locked
from greenbench.paths import cache_dir


@contextmanager
def device_lock(device: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold `device` of this machine: two runs at once on one device spoil each other's joules.

    Waits for the present holder, after telling `on_wait` once. A holder that dies lets go.
    """
    name = re.sub(r"[^\w.-]", "_", device)
    waiting = f"Another run is using {device}: waiting for it, lest both measure each other."
    with locked(cache_dir() / "locks" / f"{name}-{machine_key()}.lock", waiting, on_wait):
        yield


def machine_key() -> str:
    """This machine in names of files that several may share, as homes may be."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
