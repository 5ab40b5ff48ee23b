"""How a CPU fares while it is metered: its packages' heat, and whether that slowed them (Linux).

https://docs.kernel.org/hwmon/sysfs-interface.html and, of Intel's, the ``thermal_throttle`` counters:
https://docs.kernel.org/admin-guide/thermal/intel_thermal_throttle.html.
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


EVENTS = ("package_throttle_count", "package_throttle_total_time_ms")
"""The kernel counts an event as it begins, and newer ones add its time once it is over."""


class CpuHeat:
    """Looks at all packages again and again. What a machine does not tell is None, and no fault."""

    def __init__(self, root: Path = SYS) -> None:
        self._sensors = list(_sensors(root / "class/hwmon"))
        self._events = list(_one_a_package(root / "devices/system/cpu"))
        self._seen = [_number(path) for path in self._events]

    def look(self, now_s: float) -> Telemetry:
        """The hottest package's temperature."""
        known = [value for path in self._sensors if (value := _number(path)) is not None]
        return Telemetry(now_s, round(max(known) / 1000) if known else None)

    def codes(self) -> list[str]:
        """``throttled`` where heat began or ceased to slow a package since this was last asked."""
        now = [_number(path) for path in self._events]
        more = any(
            old is not None and new is not None and new > old
            for old, new in zip(self._seen, now, strict=True)
        )
        self._seen = [old if new is None else new for old, new in zip(self._seen, now, strict=True)]
        return ["throttled"] if more else []


def _sensors(root: Path) -> Iterator[Path]:
    for driver in sorted(root.glob("hwmon*")):
        if _text(driver / "name") in DRIVERS:
            for label in sorted(driver.glob("temp*_label")):
                if _text(label).startswith(LABELS):
                    yield driver / label.name.replace("_label", "_input")


def _one_a_package(root: Path) -> Iterator[Path]:
    """Every CPU of a package shows the same."""
    seen = set[str]()
    for cpu in sorted(root.glob("cpu[0-9]*")):
        package = _text(cpu / "topology/physical_package_id")
        events = [cpu / "thermal_throttle" / name for name in EVENTS]
        if package not in seen and events[0].exists():
            seen.add(package)
            yield from events


def _number(path: Path) -> int | None:
    """In its file's unit: millidegrees, or a count."""
    with suppress(ValueError):
        return int(_text(path))
    return None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
