"""CPUs without a counter: joules from CPU time, with bounds. An estimate, never a measurement.

    P(u) = idle + (max - idle) * u,    u = CPU seconds of the run / (seconds * usable CPUs)

so joules are ``idle * seconds + (max - idle) * CPU seconds / usable CPUs``. CPU seconds are those of
the run's own processes, an engine's among them, all threads included. ``idle`` and ``max`` are
fractions of the TDP (thermal design power) of the CPUs that this process may use: their share of
the package for hardware seen whole, one hardware thread each in a virtual machine.

Where the numbers come from: TDP from ``cpu_tdp.csv`` beside this file (source and licence in its
head) or from ``meter.cpu_tdp_w``. ``idle``: 0.16 to 0.32 of full load over the server
generations in Cloud Carbon Footprint's coefficients from SPECpower (Apache-2.0,
https://github.com/cloud-carbon-footprint/ccf-coefficients), 0.24 in the middle; widened to 0.02
for desktops, which idle near 2 % of TDP, and to 0.40. ``max``: TDP, widened to 0.5 for loads that
wait for memory and 1.5 for turbo above TDP. The bounds are judgement, not confidence intervals.

What goes wrong: power is concave in utilization (the first core costs most), depends on
instructions, clock and temperature, and neighbours and the rest of the machine are left out. As
CPU time is all it sees, it cannot show a saving that CPU time and latency do not show.

Memory is a meter of its own: watts per GiB that the process holds, whatever it does with it. Cloud
Carbon Footprint takes 0.392 W/GB, the mean of makers' figures; CodeCarbon 3 W per 8 GB.
"""

from __future__ import annotations

import csv
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import psutil

from greenbench.machine import allowance
from greenbench.machine.clock import Clock
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.meter import Meter, Part, Place, Reading
from greenbench.schema.quantity import Boundary, Provenance


class Bounds(NamedTuple):
    """A low, a middle and a high value."""

    low: float
    mid: float
    high: float

    def times(self, other: Bounds) -> Bounds:
        """Product of two positive quantities."""
        return Bounds(self.low * other.low, self.mid * other.mid, self.high * other.high)


IDLE = Bounds(0.02, 0.24, 0.40)  # of TDP
MAX = Bounds(0.5, 1.0, 1.5)  # of TDP


GIB = 2**30
DRAM_W_PER_GIB = Bounds(0.1, 0.4, 0.8)  # judgement around the two published means


class Cpu(NamedTuple):
    """The CPUs this process may use."""

    model: str
    packages: int
    cpus: int
    """Logical CPUs of the machine."""
    smt: bool
    """Two logical CPUs share a core, and the machine shows it."""
    usable: float
    """Logical CPUs that affinity and the container's quota leave to this process."""
    virtual: bool


class Entry(NamedTuple):
    """One row of the table: one package."""

    tdp_w: float
    cores: int
    threads: int


class Share(NamedTuple):
    """TDP in watts of the CPUs this process may use, and how that was assumed."""

    tdp_w: Bounds
    assumption: str


def this_cpu() -> Cpu:
    """What the operating system says about the CPU."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    packages = set(re.findall(r"^physical id\s*: (\d+)$", text, re.MULTILINE))
    cpus = psutil.cpu_count() or 1
    return Cpu(
        model=model[1].strip() if model else "unknown",
        packages=max(1, len(packages)),
        cpus=cpus,
        smt=(psutil.cpu_count(logical=False) or cpus) < cpus,
        usable=allowance.cpus(),
        virtual=re.search(r"^flags\s*:.*\bhypervisor\b", text, re.MULTILINE) is not None,
    )


@cache
def table() -> dict[str, Entry]:
    """TDP, cores and threads of one package by normalized CPU name."""
    text = (files("greenbench.meters") / "cpu_tdp.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        normalize(row["name"]): Entry(float(row["tdp_w"]), int(row["cores"]), int(row["threads"]))
        for row in rows
    }


def normalize(model: str) -> str:
    """A CPU's name without trademarks, clock and core count, in lower case."""
    name = re.sub(r"\((r|tm)\)|@.*|\bcpu\b|\b\d+-core\b|\bprocessor\b", " ", model.lower())
    return " ".join(name.split())


def share(cpu: Cpu, tdp_w: float | None = None) -> Share:
    """Watts of TDP behind the CPUs this process may use; `tdp_w` overrides the table's."""
    entry = table().get(normalize(cpu.model))
    if entry is None and tdp_w is None:
        return _from_the_whole_table(cpu)
    watts = entry.tdp_w if tdp_w is None and entry else tdp_w or 0.0
    source = f"{watts:g} W " + ("from the table" if tdp_w is None else "from meter.cpu_tdp_w")
    if cpu.virtual and entry:
        return _of_a_guest(cpu, entry, watts, source)
    part = cpu.usable / cpu.cpus * (1 if cpu.virtual else cpu.packages)
    return Share(
        Bounds(*[watts * part] * 3),
        f"TDP {source} for each package of {cpu.model}: {cpu.usable:g} of {cpu.cpus} CPUs in "
        f"{cpu.packages} package(s), all of which this machine is assumed to show.",
    )


def _of_a_guest(cpu: Cpu, entry: Entry, watts: float, source: str) -> Share:
    thread_w = watts * cpu.usable / entry.threads
    core_w = thread_w if cpu.smt else watts * cpu.usable / entry.cores
    return Share(
        Bounds(thread_w, thread_w, core_w),
        f"TDP {source} for {cpu.model}: the {cpu.usable:g} CPUs of this virtual machine are "
        f"assumed to be {cpu.usable:g} of its {entry.threads} hardware threads"
        + ("." if cpu.smt else f" (high bound: of its {entry.cores} cores)."),
    )


def _from_the_whole_table(cpu: Cpu) -> Share:
    per_thread = [entry.tdp_w / entry.threads for entry in table().values()]
    twentieths = statistics.quantiles(per_thread, n=20)
    low, mid, high = twentieths[0], twentieths[9], twentieths[18]
    return Share(
        Bounds(low * cpu.usable, mid * cpu.usable, high * cpu.usable),
        f"The TDP of {cpu.model!r} is not in the table: {cpu.usable:g} CPUs are assumed at "
        f"{mid:.1f} W each ({low:.1f} to {high:.1f} W, the table's 5th to 95th percentile per "
        f"hardware thread); set meter.cpu_tdp_w if you know it.",
    )


class CpuEstimate(Meter):
    """Joules of the CPU package that the run's CPU time suggests, with bounds."""

    name = "estimate"
    summary = "CPUs without a counter: joules from CPU time, with bounds; no measurement"
    covers = frozenset({"cpu"})
    boundary: Boundary = "cpu_package"
    provenance: Provenance = "estimated:model"

    @classmethod
    def parts(cls, place: Place) -> Sequence[Part]:
        """The package's joules, and the memory's."""
        return [
            Part("estimate", lambda: cls(place.cpu_tdp_w, cpu_s=place.own.cpu_s)),
            Part("estimate_dram", lambda: _DramEstimate(held_bytes=place.own.held_bytes)),
        ]

    def __init__(
        self,
        tdp_w: float | None = None,
        cpu: Cpu | None = None,
        clock: Clock = time,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        """`cpu_s` gives the run's CPU seconds so far; null: those of this process and its children."""
        self.cpu = cpu or this_cpu()
        tdp, assumption = share(self.cpu, tdp_w)
        self.note: str | None = assumption
        self.idle_w, self.max_w = tdp.times(IDLE), tdp.times(MAX)
        self.tick_s = time.get_clock_info("process_time").resolution
        self._clock = clock
        self._cpu_s = cpu_s or OwnProcesses().cpu_s
        self._start = (clock.monotonic(), self._cpu_s())

    def read(self) -> Reading:
        """Joules since the opening: idle for the seconds passed, the rest by CPU seconds."""
        now_s = self._clock.monotonic()
        wall_s, cpu_s = now_s - self._start[0], self._cpu_s() - self._start[1]
        busy_s = cpu_s / self.cpu.usable
        low, mid, high = (
            idle_w * wall_s + (max_w - idle_w) * busy_s
            for idle_w, max_w in zip(self.idle_w, self.max_w, strict=True)
        )
        return Reading(now_s, mid, low, high)

    def close(self) -> None:
        """Nothing to let go of."""


class _DramEstimate(Meter):
    """Joules of the memory that the run's processes hold, with bounds."""

    name = "estimate_dram"
    boundary: Boundary = "dram"
    provenance: Provenance = "estimated:model"
    note: str | None = (
        f"{DRAM_W_PER_GIB.mid:g} W ({DRAM_W_PER_GIB.low:g} to {DRAM_W_PER_GIB.high:g} W) are assumed "
        "for each GiB that the process holds, whatever it does with it."
    )

    def __init__(self, clock: Clock = time, held_bytes: Callable[[], int] | None = None) -> None:
        self._clock = clock
        self._held = held_bytes or OwnProcesses().held_bytes
        self.tick_s = time.get_clock_info("monotonic").resolution
        self._gib_s = 0.0
        self._last = (clock.monotonic(), self._held() / GIB)

    def read(self) -> Reading:
        """Joules since the opening, by trapezoids between readings."""
        now_s, gib = self._clock.monotonic(), self._held() / GIB
        self._gib_s += (now_s - self._last[0]) * (gib + self._last[1]) / 2
        self._last = (now_s, gib)
        low, mid, high = (watts * self._gib_s for watts in DRAM_W_PER_GIB)
        return Reading(now_s, mid, low, high)

    def close(self) -> None:
        """Nothing to let go of."""
