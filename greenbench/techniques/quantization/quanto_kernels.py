"""quanto's own C++ and CUDA code, which it compiles on first use."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
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

    quanto would build it beside its sources, where an installation may be read-only. torch guards the
    build with a mere file, which a killed process leaves behind, so that every later one waits for
    ever: whoever holds our lock, which dies with its holder, may remove it.
    """
    _find_ninja()
    folder = _build_in_cache(device)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        (folder / "lock").unlink(missing_ok=True)
        torch.ops.quanto.unpack(torch.zeros(1, dtype=torch.uint8, device=device), 4)


def _build_in_cache(device: torch.device) -> Path:
    """Have quanto build its code for `device` in our cache, in the folder that is returned.

    It is named by what the built code depends on, the place of the sources too, as two
    environments would else build over each other's.
    """
    from optimum.quanto.library import extensions
    from torch.utils import cpp_extension

    on_gpu = "quanto_hip" if torch.version.hip else "quanto_cuda"
    extension = extensions.get_extension(on_gpu if device.type == "cuda" else "quanto_cpp")
    gpus = range(torch.cuda.device_count() if device.type == "cuda" else 0)
    told = [
        *(torch.__version__, version("optimum-quanto"), sys.implementation.cache_tag),
        *(platform.machine(), _compiler(), str(cpp_extension.CUDA_HOME)),
        *(extension.sources, extension.extra_cflags, extension.extra_cuda_cflags),
        *(os.environ.get("TORCH_CUDA_ARCH_LIST"), *map(torch.cuda.get_device_capability, gpus)),
    ]
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:12]
    folder = cache_dir() / "quanto" / f"{extension.name}-{digest}"
    extension.build_directory = str(folder)
    return folder


def _compiler() -> str:
    """The C++ compiler with its version, as it tells it."""
    command = shlex.split(os.environ.get("CXX", "c++"))
    with suppress(OSError, subprocess.SubprocessError):
        return str((command, subprocess.check_output([*command, "--version"], timeout=60)))
    return str(command)


def _find_ninja() -> None:
    """torch looks in PATH, which has not the ninja beside a python whose environment is not active."""
    if shutil.which("ninja") is None:
        os.environ["PATH"] = (
            f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        )
