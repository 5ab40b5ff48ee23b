"""Where OpenVINO is installed: an environment of its own, as its export tool's transformers is not ours.

`make engine-openvino` makes it, in the cache; ``GREENBENCH_OPENVINO`` names another folder.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from greenbench.errors import Unsupported
from greenbench.machine.environments import Environment

PACKAGES = ("openvino-genai", "openvino", "optimum-intel", "nncf")
"""Those that decide what comes out; the first answers requests."""
CONFIGS = "lib/python*/site-packages/optimum/exporters/openvino/model_configs.py"
KIND = re.compile(r'@register_in_tasks_manager\(\s*"([\w-]+)"(.*?)\nclass ', re.S)
"""A kind of model, and its tasks, as the export tool names them."""
GENERATES = re.compile(r"text-generation|TEXT_GENERATION_TASKS")

OWN = Environment("openvino", "GREENBENCH_OPENVINO")
folder, python, version = OWN.folder, OWN.python, OWN.version


def require_installed(who: str) -> None:
    """Raise Unsupported, in one sentence that begins with `who`, where it is not there."""
    if version(PACKAGES[0]) is None:
        raise Unsupported(
            f"{who} runs OpenVINO in an environment of its own, which is not there: make engine-openvino"
        )


def require_kind(who: str, kind: str, model: str) -> None:
    """Raise Unsupported where the export tool knows no models of text of that `kind`."""
    known = kinds(folder())
    if known and kind not in known:
        raise Unsupported(
            f"{who} cannot run {model}: OpenVINO's export tool knows no {kind} models; choose another engine."
        )


@cache
def kinds(place: Path) -> frozenset[str]:
    """Of models whose text it can export, read off its source; empty where that says none."""
    texts = [file.read_text(errors="replace") for file in place.glob(CONFIGS)]
    found = [each for text in texts for each in KIND.findall(text)]
    return frozenset(kind for kind, tasks in found if GENERATES.search(tasks))


def versions() -> dict[str, str]:
    """Of what computes there."""
    found = {name: version(name) for name in (*PACKAGES, "torch", "transformers")}
    return {f"openvino:{name}": number for name, number in found.items() if number}


def variables(threads: int) -> dict[str, str]:
    """What its processes are to find: no network, no report to anyone, the CPUs that are ours.

    With one thread OpenVINO 2026.4 divides by zero in its kernels for AMX and dies (openvino#33300): so it is
    shown a CPU without.
    """
    return {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "OPENVINO_TELEMETRY_OPT_OUT": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(threads),
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16" if threads == 1 else "DEFAULT",
    }
