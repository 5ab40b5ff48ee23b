"""What else goes on around a run: other load, power settings, free memory, kernels on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pynvml

from greenbench.errors import Unavailable
from greenbench.machine import allowance
from greenbench.machine.cpu_load import codes, usage
from greenbench.machine.gpus import Gpu, compute_processes, optional, start
from greenbench.machine.gpus import gpus as every_gpu
from greenbench.machine.processes import OwnProcesses

WATCH_S = 1.0
BUSY_CORES = 0.1  # of one core: processes below it are not worth a name
TOP = 5


def load(watch_s: float = WATCH_S) -> dict[str, Any]:
    """Who else computes here, watched for `watch_s` seconds; CPU use is in cores.

    ``codes`` are those that a window of a run would have got meanwhile.
    """
    own = OwnProcesses()
    before, stolen_s, by_process = usage(own), _stolen_s(), _cpu_s_by_process()
    time.sleep(watch_s)
    after, stolen_s, now = usage(own), _stolen_s() - stolen_s, _cpu_s_by_process()
    seconds = after.time_s - before.time_s
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s) - stolen_s
    used = {who: (cpu_s - by_process.get(who, cpu_s)) / seconds for who, cpu_s in now.items()}
    busiest = sorted(used.items(), key=lambda item: -item[1])[:TOP]
    return {
        "watched_s": round(seconds, 2),
        "cores": psutil.cpu_count(),
        "other_cores_used": round(max(0.0, others_s) / seconds, 2),
        "stolen_cores": round(stolen_s / seconds, 2),
        "load_average_1min": round(psutil.getloadavg()[0], 2),
        "processes": [
            {"pid": pid, "name": name, "cores": round(cores, 2)}
            for (pid, name), cores in busiest
            if cores >= BUSY_CORES
        ],
        "codes": codes(before, after),
    }


def _stolen_s() -> float:
    """Seconds that the hypervisor gave to other guests."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _cpu_s_by_process() -> dict[tuple[int, str], float]:
    return {
        (process.pid, process.info["name"]): times.user + times.system
        for process in psutil.process_iter(["name", "cpu_times"])
        if process.pid != os.getpid() and (times := process.info["cpu_times"]) is not None
    }


def gpus() -> list[dict[str, Any]]:
    """Utilization, free memory and compute processes of every NVIDIA GPU; null: not reported."""
    with _nvml() as found:
        return [
            {
                "name": gpu.name,
                "utilization_percent": optional(partial(_utilization, gpu)),
                "memory_free_bytes": optional(partial(_free_bytes, gpu)),
                "compute_pids": optional(partial(_foreign_pids, gpu)),
            }
            for gpu in found
        ]


def _utilization(gpu: Gpu) -> int:
    return int(pynvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu)


def _free_bytes(gpu: Gpu) -> int:
    return int(pynvml.nvmlDeviceGetMemoryInfo(gpu.handle).free)


def _foreign_pids(gpu: Gpu) -> list[int]:
    return [pid for pid in compute_processes(gpu.handle) if pid != os.getpid()]


@contextmanager
def _nvml() -> Iterator[list[Gpu]]:
    try:
        start()
    except Unavailable:
        yield []
        return
    try:
        yield every_gpu()
    finally:
        pynvml.nvmlShutdown()


def power(root: Path = Path("/sys")) -> dict[str, str | None]:
    """CPU governor, turbo and supply from sysfs at `root`; null where it does not say."""
    cpu = root / "devices/system/cpu"
    governors = {_text(path) for path in cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return {
        "governor": ", ".join(sorted(filter(None, governors))) or None,
        "turbo": _turbo(cpu),
        "supply": _supply(root / "class/power_supply"),
    }


def _turbo(cpu: Path) -> str | None:
    known = {
        "intel_pstate/no_turbo": {"0": "on", "1": "off"},
        "cpufreq/boost": {"1": "on", "0": "off"},
    }
    said = (words.get(_text(cpu / name) or "") for name, words in known.items())
    return next(filter(None, said), None)


def _supply(folder: Path) -> str | None:
    """As in ``battery, discharging, 80 %``; machines without a battery say nothing."""
    for battery in sorted(folder.glob("*")):
        # Mice and pens have batteries of scope Device.
        if _text(battery / "type") == "Battery" and _text(battery / "scope") != "Device":
            status, charge = _text(battery / "status"), _text(battery / "capacity")
            known = (status and status.lower(), charge and f"{charge} %")
            return ", ".join(["battery", *filter(None, known)])
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def memory() -> dict[str, int]:
    """Bytes of memory that a process here may use: all, and what a new one could have."""
    return {
        "total_bytes": allowance.memory_bytes(),
        "available_bytes": allowance.available_bytes(),
    }


def kernels() -> dict[str, list[str] | None]:
    """Compiled kernels by package, by the devices they are for; null for a package not installed.

    Nothing is imported: a library that is there may still not fit the driver.
    """
    return {
        "bitsandbytes": _libraries("bitsandbytes", "libbitsandbytes_"),
        "flash-attn": _package("flash_attn"),
        "triton": _package("triton"),
    }


def _libraries(package: str, prefix: str) -> list[str] | None:
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    files = Path(found.origin).parent.glob(f"{prefix}*.*")
    return sorted(path.stem.removeprefix(prefix) for path in files)


def _package(name: str) -> list[str] | None:
    return None if find_spec(name) is None else ["cuda"]
