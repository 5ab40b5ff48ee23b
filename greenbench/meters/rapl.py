"""CPUs: RAPL energy counters through the kernel's powercap tree (Intel, and AMD since Zen).

https://docs.kernel.org/power/powercap/powercap.html. ``package-*`` zones are summed; ``dram`` is
a boundary of its own; ``psys`` (contains the package), ``core`` and ``uncore`` (inside it) are
left out. A package that shows twice, through ``intel-rapl-mmio`` or as dies that mirror one
counter (Threadripper), is counted once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.meters.cpu_heat import CpuHeat
from greenbench.meters.meter import (
    IMPLAUSIBLE_W,
    OVER_LIMIT,
    POLL_S,
    Meter,
    Part,
    Place,
    Reading,
    Tallies,
    Tally,
    keep_reading,
    look_s,
    probe,
)
from greenbench.meters.telemetry import Kept, Sample
from greenbench.schema.quantity import Boundary, Provenance
from greenbench.schema.window import Trace

ROOT = Path("/sys/class/powercap")
UJ = 1e-6  # joules per microjoule
MIRROR_LOOKS = 10
TRACE_S = 0.5  # between two points of a trace
REMEDY = "sudo chmod a+r /sys/class/powercap/*/energy_uj"


class Zone(NamedTuple):
    """One energy counter of the powercap tree."""

    id: str
    """Directory name, as in ``intel-rapl:0:1``."""
    name: str
    """As in ``package-0``, ``package-0-die-1``, ``dram`` or ``psys``."""
    parent: str
    """Name of the zone around it; empty for a package."""
    path: Path

    @property
    def socket(self) -> str:
        """The package it belongs to, whatever the die."""
        return (self.parent or self.name).partition("-die-")[0]

    def read_uj(self) -> int:
        """The counter in microjoules."""
        return int((self.path / "energy_uj").read_text())

    def range_uj(self) -> int:
        """Its highest value, after which it starts at 0 again."""
        return int((self.path / "max_energy_range_uj").read_text())

    def most_w(self) -> float:
        """What it cannot draw: by its power limits where they hold, as on Intel, else as no package does."""
        limits_w: list[float] = []
        with suppress(OSError):
            held = (self.path / "enabled").read_text().strip() == "1"
            for file in self.path.glob("constraint_*_uw") if held else ():  # its maximum too
                with suppress(OSError, ValueError):
                    limits_w.append(UJ * int(file.read_text()))
        return min(IMPLAUSIBLE_W, OVER_LIMIT * max(limits_w, default=0.0) or IMPLAUSIBLE_W)


def zones(root: Path = ROOT) -> list[Zone]:
    """Every zone with a counter, each once, those to prefer first."""
    names = {
        path.name: (path / "name").read_text().strip()
        for path in sorted(root.glob("*:*"))
        if (path / "name").is_file() and (path / "energy_uj").exists()
    }
    found: dict[tuple[str, str], Zone] = {}
    for id, name in sorted(names.items(), key=lambda item: _preference(root / item[0])):
        parent = names.get(id.rpartition(":")[0], "")
        found.setdefault((parent, name), Zone(id, name, parent, root / id))
    return list(found.values())


def _preference(path: Path) -> tuple[bool, bool, str]:
    """Of a package's duplicates: first what can be read, then the register interface."""
    readable = os.access(path / "energy_uj", os.R_OK)
    return not readable, not path.name.startswith("intel-rapl:"), path.name


def without_mirrors(packages: list[Zone], clock: Clock = time) -> list[Zone]:
    """Drop dies that mirror another die of the same package: counters that ever read the same.

    Two counters of microjoules agree by chance once in billions of looks, while a mirror
    differs only in a look that straddles its step.
    """
    values: list[list[int]] = []
    for _ in range(MIRROR_LOOKS):
        values.append([zone.read_uj() for zone in packages])
        clock.sleep(POLL_S)
    columns = list(zip(*values, strict=True))
    return [
        zone
        for index, zone in enumerate(packages)
        if not any(
            zone.socket == other.socket
            and any(mine == its for mine, its in zip(columns[index], columns[place], strict=True))
            for place, other in enumerate(packages[:index])
        )
    ]


class RaplCounter(Meter):
    """RAPL counters of one boundary, summed. Joules count from the opening.

    Raises Unavailable if there is none, if one cannot be read, or if one does not move.
    """

    name = "rapl"
    summary = "CPUs: RAPL counters of the package, and of the memory beside it"
    covers = frozenset({"cpu"})
    provenance: Provenance = "measured:counter:rapl"
    note: str | None = None

    @classmethod
    def parts(cls, place: Place) -> Sequence[Part]:
        """The package's counter, and the memory's; of a run on the CPU also how it fares."""
        heat = CpuHeat() if place.device == "cpu" else None
        return [
            Part("rapl", lambda: cls("cpu_package", heat=heat).start()),
            Part("rapl_dram", lambda: cls("dram").start()),
        ]

    def __init__(
        self,
        boundary: Boundary,
        root: Path = ROOT,
        clock: Clock = time,
        heat: CpuHeat | None = None,
    ) -> None:
        """`heat`: how the CPU fares is kept too, for the trace."""
        self.boundary, self._heat = boundary, heat
        self._kept = Kept(TRACE_S)
        self._last: Reading | None = None
        self.name = "rapl" if boundary == "cpu_package" else f"rapl_{boundary}"
        self.zones = _open(boundary, root, clock)
        self._clock, self._lock, self._closed = clock, threading.Lock(), threading.Event()
        self.tick_s = self._probe()
        ranges = [zone.range_uj() for zone in self.zones]
        now_s = clock.monotonic()
        counters = zip(self._raw(), ranges, self.zones, strict=True)
        self._tallies = Tallies(
            [Tally(raw, now_s, UJ, range, zone.most_w()) for raw, range, zone in counters]
        )
        self._wrap_s = min(ranges) * UJ / IMPLAUSIBLE_W

    def start(self) -> Self:
        """Look in the background until closed: no wrap (every few minutes under load), no stop is missed."""
        keep_reading(self.read, min(self._wrap_s / 2, look_s(self.tick_s)), self._closed)
        return self

    def _probe(self) -> float:
        ticks = probe(self._raw, self._clock)
        for zone, tick_s in zip(self.zones, ticks, strict=True):
            if tick_s is None:
                raise Unavailable(
                    f"The RAPL counter {zone.id} ({zone.name}) does not move, as on some virtual "
                    f"machines: run on bare metal or choose another meter."
                )
        return max(tick_s for tick_s in ticks if tick_s is not None)

    def _raw(self) -> list[int]:
        return [zone.read_uj() for zone in self.zones]

    def read(self) -> Reading:
        """Joules so far over all zones."""
        with self._lock:
            try:
                reading = self._tallies.read(self._raw, self._clock, self.tick_s)
            except (OSError, ValueError) as error:
                raise Lost(f"A RAPL counter can no longer be read ({error}).") from None
            return self._watched(reading, self._heat) if self._heat else reading

    def _watched(self, now: Reading, heat: CpuHeat) -> Reading:
        """The reading with the faults of heat; what the CPU drew since the last one is kept."""
        last, apart_s = self._last, look_s(self.tick_s)
        if last is None or now.time_s - last.time_s >= apart_s:
            self._last = now
            if last is not None:
                power_w = (now.energy_j - last.energy_j) / (now.time_s - last.time_s)
                self._kept.power.append(Sample((now.time_s + last.time_s) / 2, power_w))
        if self._kept.is_due(now.time_s):
            self._kept.others.append(heat.look(now.time_s))
        self._tallies.faults += tuple(heat.codes())  # each time: of this window, not of the next
        return now._replace(faults=self._tallies.faults)

    def trace(self, start_s: float, end_s: float) -> Trace | None:
        """What the CPU drew and how hot it was between two monotonic times; null on a GPU's run."""
        if self._heat is None:
            return None
        with self._lock:
            return self._kept.trace(start_s, end_s)

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()


def _open(boundary: Boundary, root: Path, clock: Clock) -> list[Zone]:
    found = zones(root)
    packages = [zone for zone in found if zone.name.startswith("package-")]
    if not packages:
        raise Unavailable(
            "This machine exposes no RAPL package counter, as most virtual machines do not: run "
            "on bare metal (on Linux, sudo modprobe intel_rapl_msr) or choose another meter."
        )
    chosen = packages if boundary == "cpu_package" else [z for z in found if z.name == boundary]
    if not chosen:
        raise Unavailable(f"RAPL has no {boundary} counter on this CPU.")
    for zone in chosen:
        _require_readable(zone)
    return without_mirrors(chosen, clock)


def _require_readable(zone: Zone) -> None:
    try:
        zone.range_uj(), zone.read_uj()
    except PermissionError:
        raise Unavailable(
            f"{zone.path / 'energy_uj'} is readable by root only: run `{REMEDY}` once per boot."
        ) from None
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"The RAPL counter {zone.id} cannot be read ({error}): choose another meter."
        ) from None
