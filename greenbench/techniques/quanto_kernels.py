"""quanto's own C++ code, which it compiles on first use."""

from __future__ import annotations

from pathlib import Path

import torch
from filelock import FileLock

from greenbench.paths import cache_dir


def load_kernels() -> None:
    """Compile quanto's code where it is not, which takes a minute once, and load it.

    torch guards the build with a mere file, which a killed process leaves behind, so that every
    later one waits for ever: whoever holds our lock, which dies with its holder, may remove it.
    """
    from optimum.quanto.library.extensions import cpp

    lock = cache_dir() / "locks" / "quanto.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        (Path(cpp.__file__).parent / "build" / "lock").unlink(missing_ok=True)
        torch.ops.quanto.unpack(torch.zeros(1, dtype=torch.uint8), 4)
