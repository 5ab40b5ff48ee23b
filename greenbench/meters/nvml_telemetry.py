"""How GPUs fare while they are metered: clocks, heat, throttling, company; and a compact trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple, TypeVar

import psutil
import pynvml

from greenbench.machine.gpus import Gpu, compute_processes, mps_clients, optional
from greenbench.machine.processes import OwnProcesses
from greenbench.schema.window import Trace

TRACE_POINTS = 60

THROTTLED = (
    pynvml.nvmlClocksEventReasonHwSlowdown
    | pynvml.nvmlClocksEventReasonSwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
)
NONE_BUSY = {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_SUCCESS}
"""No process has run a kernel; pynvml takes a success without samples for an error."""
NOT_TOLD = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
}
RECENT_S = 1.0
"""What a process did longer ago is not of this moment."""
MPS_SERVER = "nvidia-cuda-mps"
"""How the program begins by which NVIDIA's Multi-Process Service shares a GPU among its clients."""


class Sample(NamedTuple):
    """Power of all GPUs at one moment."""

    time_s: float
    power_w: float


class Telemetry(NamedTuple):
    """How the GPUs are; of several, the hottest, slowest and busiest. None: not reported."""

    time_s: float
    temperature_c: int | None
    sm_mhz: int | None
    mem_mhz: int | None
    throttle: int | None
    """Clock event reasons, NVML's bits, of all GPUs together."""
    utilization: int | None
    """Per cent of time with a kernel running."""
    strangers: int | None
    """Processes that are not the run's and compute, on the GPU that has most."""
    neighbours: int | None
    """Those that hold a context there and compute nothing, as a desktop's or a monitor's."""

    def codes(self) -> list[str]:
        """Fault codes of this moment."""
        found = {
            "throttled": (self.throttle or 0) & THROTTLED,
            "foreign_process": self.strangers,
            "idle_neighbour": self.neighbours,
        }
        return [code for code, present in found.items() if present]


def observe(gpus: Sequence[Gpu], now_s: float, own: OwnProcesses) -> Telemetry:
    """Temperature, clocks, throttle reasons, utilization and processes not `own` of `gpus` now."""

    def worst(pick: Callable[[list[int]], int], query: Callable[[Any], int]) -> int | None:
        return _of(pick, [optional(partial(query, gpu.handle)) for gpu in gpus])

    nvml = pynvml
    company = [optional(partial(_company, gpu.handle, own)) for gpu in gpus]
    return Telemetry(
        now_s,
        worst(max, lambda gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
        worst(min, lambda gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
        worst(min, lambda gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)),
        worst(_bits, _clock_events),
        worst(max, lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
        *(_of(max, [each and each[kind] for each in company]) for kind in (0, 1)),
    )


def _company(gpu: Any, own: OwnProcesses) -> tuple[int, int]:
    """Compute processes that are not `own`: those that compute, and those that only hold a context.

    In a container NVML may give the host's numbers, none of which are ours or of anybody here: then
    one process is taken for the run's, and one for each that an engine has named. An MPS server without
    clients computes nothing, and one whose clients are all ours computes for the run; what one computes
    for others too cannot be told apart.
    """
    pids = set(compute_processes(gpu))
    if not pids <= own.pids:
        own.refresh()  # a child may have been born since the window began
    known = pids & own.pids
    servers, clients = set(filter(_is_mps_server, pids - known)), mps_clients(gpu)
    if clients and clients <= own.pids:
        pids -= servers
    nowhere = [pid for pid in pids - known if not psutil.pid_exists(pid)]
    taken = 0 if known else min(len(nowhere), 1 + len(own.named))
    others = len(pids) - len(known) - taken
    if not others:
        return 0, 0
    busy = _busy(gpu)
    if busy is None:
        computing = others - (0 if clients or clients is None else len(servers))
    else:
        computing = min(others, max(0, len((pids - known) & busy) - taken))
    return computing, others - computing


def _is_mps_server(pid: int) -> bool:
    try:
        return psutil.Process(pid).name().startswith(MPS_SERVER)
    except psutil.Error:
        return False


def _busy(gpu: Any) -> set[int] | None:
    """Processes that have run a kernel just now; None where the driver does not tell them apart."""
    since_us = int(1e6 * (time.time() - RECENT_S))
    try:
        samples = pynvml.nvmlDeviceGetProcessUtilization(gpu, since_us)
    except pynvml.NVMLError as error:
        if error.value in NONE_BUSY:
            return set()
        if error.value in NOT_TOLD:
            return None
        raise
    return {sample.pid for sample in samples if sample.smUtil}


def _clock_events(gpu: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 535
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


def resample(
    samples: Sequence[Sample],
    telemetry: Sequence[Telemetry],
    start_s: float,
    end_s: float,
    least_step_s: float,
) -> Trace:
    """The trace of the window from `start_s` to `end_s`, in steps of `least_step_s` or more."""
    points = max(1, min(TRACE_POINTS, int((end_s - start_s) / least_step_s)))
    step_s = (end_s - start_s) / points
    power = _steps(samples, start_s, step_s, points)
    others = _steps(telemetry, start_s, step_s, points)
    return Trace(
        step_s=step_s,
        power_w=[_mean([s.power_w for s in step]) for step in power],
        temperature_c=[_of(max, [t.temperature_c for t in step]) for step in others],
        sm_mhz=[_of(min, [t.sm_mhz for t in step]) for step in others],
        mem_mhz=[_of(min, [t.mem_mhz for t in step]) for step in others],
        throttle=[_of(_bits, [t.throttle for t in step]) for step in others],
        utilization=[_of(max, [t.utilization for t in step]) for step in others],
    )


T = TypeVar("T", Sample, Telemetry)


def _steps(values: Sequence[T], start_s: float, step_s: float, points: int) -> list[list[T]]:
    steps: list[list[T]] = [[] for _ in range(points)]
    for value in values:
        steps[min(int((value.time_s - start_s) / step_s), points - 1)].append(value)
    return steps


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _bits(values: Sequence[int]) -> int:
    return reduce(or_, values)


def _of(pick: Callable[[list[int]], int], values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return pick(known) if known else None
