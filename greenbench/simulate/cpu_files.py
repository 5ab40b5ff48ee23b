"""A CPU's counters and sensors as files, laid out like the Linux kernel's."""

from __future__ import annotations

import os
from math import floor
from pathlib import Path
from typing import Final

from greenbench.meters.rapl import UJ

COUNT_J: Final = 2.0**-14
"""What most of Intel's registers count in."""


class CpuFiles:
    """One package with its memory: a powercap tree in `zones`, heat in `sys`."""

    def __init__(self, folder: Path, range_j: float, memory_range_j: float, limit_w: float) -> None:
        self.zones, self.sys = folder / "powercap", folder / "sys"
        self._package, self._memory = self.zones / "intel-rapl:0", self.zones / "intel-rapl:0:0"
        self._sensor = self.sys / "class/hwmon/hwmon0"
        self._cpu = self.sys / "devices/system/cpu/cpu0"
        for path, text in {
            self._package / "name": "package-0",
            self._package / "enabled": "1",
            self._package / "max_energy_range_uj": f"{range_j / UJ:.0f}",
            self._package / "constraint_0_power_limit_uw": f"{limit_w / UJ:.0f}",
            self._memory / "name": "dram",
            self._memory / "enabled": "0",
            self._memory / "max_energy_range_uj": f"{memory_range_j / UJ:.0f}",
            self._sensor / "name": "coretemp",
            self._sensor / "temp1_label": "Package id 0",
            self._cpu / "topology/physical_package_id": "0",
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        (self._cpu / "thermal_throttle").mkdir()

    def count(self, package_j: float | None, memory_j: float) -> None:
        """Show both counters; null: the package's is gone."""
        if package_j is None:
            (self._package / "energy_uj").unlink(missing_ok=True)
        else:
            _show(self._package / "energy_uj", _counted_uj(package_j))
        _show(self._memory / "energy_uj", _counted_uj(memory_j))

    def heat(self, celsius: int, throttled: int, throttled_ms: float) -> None:
        """Show how hot the package is, how often heat has slowed it, and for how long that was."""
        _show(self._sensor / "temp1_input", 1000 * celsius)
        _show(self._cpu / "thermal_throttle/package_throttle_count", throttled)
        _show(self._cpu / "thermal_throttle/package_throttle_total_time_ms", throttled_ms)


def _counted_uj(joules: float) -> float:
    """By a register that counts in its own unit."""
    return floor(joules / COUNT_J) * COUNT_J / UJ


def _show(path: Path, number: float) -> None:
    """In place: of a file that is cut short first, a disk's system may wait for the disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(file, f"{number:20.0f}\n".encode())
    os.close(file)
