"""quanto's own C++ and CUDA code, which it compiles on first use."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import torch
from filelock import FileLock

from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.paths import cache_dir


def require_compilers(technique: str, machine: Machine) -> None:
    """Raise Unsupported where quanto's code for this device cannot be compiled."""
    from torch.utils import cpp_extension

    _find_ninja()
    needed = {
        "a C++ compiler": shutil.which(os.environ.get("CXX", "c++")),
        "ninja": shutil.which("ninja"),
    }
    if machine.torch_device.type == "cuda":
        needed["CUDA's compiler nvcc"] = cpp_extension.CUDA_HOME
    missing = [name for name, found in needed.items() if not found]
    if missing:
        raise Unsupported(
            f"technique={technique} needs {' and '.join(missing)}, as quanto compiles its code on "
            "first use: install g++ and ninja, and for a GPU the CUDA toolkit, or set CXX and "
            "CUDA_HOME."
        )


def load_kernels(device: torch.device) -> None:
    """Compile quanto's code for `device` where it is not, which takes minutes once, and load it.

    torch guards the build with a mere file, which a killed process leaves behind, so that every
    later one waits for ever: whoever holds our lock, which dies with its holder, may remove it.
    """
    from optimum.quanto.library import extensions

    _find_ninja()
    folder = Path(extensions.__file__).parent / ("cuda" if device.type == "cuda" else "cpp")
    lock = cache_dir() / "locks" / "quanto.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        (folder / "build" / "lock").unlink(missing_ok=True)
        torch.ops.quanto.unpack(torch.zeros(1, dtype=torch.uint8, device=device), 4)


def _find_ninja() -> None:
    """torch looks in PATH, which has not the ninja beside a python whose environment is not active."""
    if shutil.which("ninja") is None:
        os.environ["PATH"] = (
            f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        )
