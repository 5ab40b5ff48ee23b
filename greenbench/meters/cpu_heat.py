"""How a CPU fares while it is metered: its packages' heat, and whether that slowed them (Linux).

https://docs.kernel.org/hwmon/sysfs-interface.html and, of Intel's, the ``thermal_throttle`` counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from greenbench.meters.telemetry import Telemetry

SYS = Path("/sys")
DRIVERS = {"coretemp", "k10temp", "zenpower"}
LABELS = ("Package id", "Tctl", "Tdie")
"""How those drivers call a package's own sensor."""


class CpuHeat:
    """Looks at all packages again and again. What a machine does not tell is None, and no fault."""

    def __init__(self, root: Path = SYS) -> None:
        self._sensors = list(_sensors(root / "class/hwmon"))
        self._throttles = list(_one_a_package(root / "devices/system/cpu"))
        self._slowed = [_number(path) for path in self._throttles]

    def look(self, now_s: float) -> tuple[Telemetry, list[str]]:
        """The hottest package's temperature; ``throttled`` where heat has slowed one since the last look."""
        known = [value for path in self._sensors if (value := _number(path)) is not None]
        before, self._slowed = self._slowed, [_number(path) for path in self._throttles]
        more = any(
            old is not None and new is not None and new > old
            for old, new in zip(before, self._slowed, strict=True)
        )
        hottest = round(max(known) / 1000) if known else None
        return Telemetry(now_s, hottest), ["throttled"] if more else []


def _sensors(root: Path) -> Iterator[Path]:
    for driver in sorted(root.glob("hwmon*")):
        if _text(driver / "name") in DRIVERS:
            for label in sorted(driver.glob("temp*_label")):
                if _text(label).startswith(LABELS):
                    yield driver / label.name.replace("_label", "_input")


def _one_a_package(root: Path) -> Iterator[Path]:
    """Every CPU of a package shows the same count."""
    seen = set[str]()
    for cpu in sorted(root.glob("cpu[0-9]*")):
        package, count = (
            _text(cpu / "topology/physical_package_id"),
            cpu / "thermal_throttle/package_throttle_count",
        )
        if package not in seen and count.exists():
            seen.add(package)
            yield count


def _number(path: Path) -> int | None:
    """In its file's unit: millidegrees, or a count."""
    with suppress(ValueError):
        return int(_text(path))
    return None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
