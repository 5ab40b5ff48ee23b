"""What else used the CPU during a window, whether its clock held still, and what fed it."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import psutil

from greenbench.machine.processes import OwnProcesses

ON_CPU: Final = frozenset({"other_load", "cpu_frequency_change", "on_battery"})
"""What spoils a window where the CPU does the work."""
BESIDE_GPU: Final = frozenset({"other_load", "on_battery"})
"""Where a GPU does, which the CPU keeps busy: its clock may well change."""
OTHER_LOAD = 0.10  # of all CPUs' time, used by others or withheld by the hypervisor
FREQUENCY = 0.05  # change of the mean clock within a window
MIN_S = 0.2  # CPU times tick every 10 ms: shorter windows show nothing


class Usage(NamedTuple):
    """Seconds of CPU time so far, over all CPUs, the clock now, and whether it runs on its battery."""

    time_s: float
    busy_s: float
    """All that was not idle, time stolen by the hypervisor included."""
    own_s: float
    mhz: float | None
    on_battery: bool = False


def usage(own: OwnProcesses) -> Usage:
    """Read the counters now; what `own` processes use is not others'."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    guest_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # also in user
    clock = psutil.cpu_freq()
    return Usage(
        time.monotonic(),
        sum(times) - idle_s - guest_s,
        own.cpu_s(),
        clock.current if clock and clock.current else None,
        on_battery(),
    )


def codes(start: Usage, end: Usage) -> list[str]:
    """Those of `ON_CPU` that a window shows."""
    elapsed_s = end.time_s - start.time_s
    found = ["on_battery"] if start.on_battery or end.on_battery else []
    if elapsed_s < MIN_S:
        return found
    others_s = (end.busy_s - start.busy_s) - (end.own_s - start.own_s)
    if others_s > OTHER_LOAD * elapsed_s * (psutil.cpu_count() or 1):
        found.append("other_load")
    if start.mhz and end.mhz and abs(end.mhz / start.mhz - 1) > FREQUENCY:
        found.append("cpu_frequency_change")
    return found


def on_battery() -> bool:
    """Whether the machine says it runs on its battery."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False
