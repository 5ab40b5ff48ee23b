"""How GPUs fare while they are metered: clocks, heat, throttling, company."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pynvml

from greenbench.machine.gpus import Gpu, optional
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.nvml_company import HIDDEN, Company
from greenbench.meters.telemetry import Telemetry, bits, known

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


def codes(seen: Telemetry) -> list[str]:
    """Fault codes of this moment."""
    found = {
        "throttled": (seen.throttle or 0) & THROTTLED,
        "foreign_process": seen.strangers,
        "idle_neighbour": seen.neighbours,
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
            known(bits, [worst(bits, _clock_events), self._held_since() or None]),
            worst(max, lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            *(known(max, [each and each[kind] for each in company]) for kind in (0, 1)),
        )

    def _worst(self, pick: Callable[[list[int]], int], query: Callable[[Any], int]) -> int | None:
        return known(pick, [optional(partial(query, gpu.handle)) for gpu in self._gpus])

    def _held_since(self) -> int:
        """Reasons whose time has grown since the last look."""
        before, self._times = self._times, [_reason_times(gpu.handle) for gpu in self._gpus]
        return bits(
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
    counted = {
        field: int(found.value.ullVal)
        for field, found in zip(REASON_TIMES, told, strict=False)
        if not found.nvmlReturn
    }
    if len(counted) > 1:  # which says which of them it was
        counted.pop(pynvml.NVML_FI_DEV_PERF_POLICY_THERMAL, None)
    return counted


def _clock_events(gpu: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 535
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))
