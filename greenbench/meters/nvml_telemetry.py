"""How GPUs fare while they are metered: clocks, heat, throttling, company; and a compact trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple, TypeVar

import pynvml

from greenbench.machine.gpus import Gpu, optional
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.nvml_company import HIDDEN, Company
from greenbench.schema.window import Trace

TRACE_POINTS = 60

THROTTLED = (
    pynvml.nvmlClocksEventReasonHwSlowdown
    | pynvml.nvmlClocksEventReasonSwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
)
REASON_TIMES = {
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN: pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN: (
        pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
    ),
    pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL: pynvml.nvmlClocksEventReasonSwThermalSlowdown,
}
"""Fields that count how long each reason has held clocks back: none is too short for them. Older drivers have
the last one alone, which is of heat."""


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


class Watch:
    """Looks at GPUs again and again, and sees also what came and went in between."""

    def __init__(self, gpus: Sequence[Gpu], own: OwnProcesses) -> None:
        self._gpus = gpus
        self._company = [Company(gpu.handle, own) for gpu in gpus]
        self._times = [_reason_times(gpu.handle) for gpu in gpus]

    @property
    def hidden(self) -> str | None:
        """Why it is not known who else computed; null where it is."""
        return None if all(company.is_list for company in self._company) else HIDDEN

    def look(self, now_s: float) -> Telemetry:
        """Temperature, clocks, throttle reasons, utilization and company, now and since the last look."""
        nvml, worst = pynvml, self._worst
        company = [optional(company.look) for company in self._company]
        return Telemetry(
            now_s,
            worst(max, lambda gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
            worst(min, lambda gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
            worst(min, lambda gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)),
            _of(_bits, [worst(_bits, _clock_events), self._held_since() or None]),
            worst(max, lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            *(_of(max, [each and each[kind] for each in company]) for kind in (0, 1)),
        )

    def _worst(self, pick: Callable[[list[int]], int], query: Callable[[Any], int]) -> int | None:
        return _of(pick, [optional(partial(query, gpu.handle)) for gpu in self._gpus])

    def _held_since(self) -> int:
        """Reasons whose time has grown since the last look."""
        before, self._times = self._times, [_reason_times(gpu.handle) for gpu in self._gpus]
        return _bits(
            [
                REASON_TIMES[field]
                for old, new in zip(before, self._times, strict=True)
                for field in new
                if new[field] > old.get(field, new[field])
            ]
        )


def _reason_times(gpu: Any) -> dict[int, int]:
    """How long each reason has held, by field, of those that the driver tells."""
    told = optional(lambda: pynvml.nvmlDeviceGetFieldValues(gpu, list(REASON_TIMES))) or []
    known = {
        field: int(found.value.ullVal)
        for field, found in zip(REASON_TIMES, told, strict=False)
        if not found.nvmlReturn
    }
    if len(known) > 1:  # which says which of them it was
        known.pop(pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL, None)
    return known


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
    return reduce(or_, values, 0)


def _of(pick: Callable[[list[int]], int], values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return pick(known) if known else None
