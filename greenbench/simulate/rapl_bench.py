"""A CPU with RAPL where simulated models run, and faults to plant into a run on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from math import floor, inf
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Final, Literal, NamedTuple
from unittest import mock

import psutil

from greenbench.errors import Lost
from greenbench.machine import cpu_load
from greenbench.machine.processes import OwnProcesses
from greenbench.measure.recorder import Recorder
from greenbench.meters.cpu_heat import CpuHeat
from greenbench.meters.meter import Meter, look_s
from greenbench.meters.rapl import RaplCounter
from greenbench.meters.wall_log import JOULES_PER_WH, WallLog
from greenbench.simulate.cpu_files import CpuFiles
from greenbench.simulate.drawn_power import IDLE_W, Device

TICK_S: Final = 0.001
RANGE_J: Final = 262_143.328850
START_J: Final = 1000.0
LIMIT_W: Final = 500
"""The package's power limit."""
DRAM: Final = 0.06
"""Watts of the memory over those of the package."""
REST_W, EFFICIENCY = 60.0, 0.92
"""Of fans and disks, and of the power supply."""
CPUS, MHZ = 16, 3000.0
WARM_C, HOT_C = 70, 99
FOR_GOOD: Final = 100_000.0
Way = Literal["", "stands", "jumps", "restarts", "vanishes", "hot", "battery"]


class Fault(NamedTuple):
    """What is planted, from one moment of the run until `seconds` later."""

    name: str
    code: str | None
    """What should be said; null: nothing sees it, or it is none."""
    seconds: float = 3.0
    way: Way = ""
    """What the package's counter does, or the CPU."""
    jump_j: float = 0.0
    slow: float = 1.0
    """How much longer the model's requests take."""
    less: float = 1.0
    """The share of its power that either model draws then, so that their ratio is as true as before."""
    watts: float = 0.0
    """Drawn beside the model's."""
    mhz: float = 1.0
    """The share of its clock that the CPU keeps."""
    others: float = 0.0
    """The share of all CPUs' time that other programs take."""
    range_j: float = RANGE_J
    """After so much the package's counter starts at 0 again, as it does by design."""
    counts: float = 1.0
    """The share of the package's joules that its counter counts."""
    wall: float | None = None
    """The share of the machine's joules that a wall meter's log tells; null: there is none."""
    late_s: float = 0.0
    """How far the log's clock is behind."""

    @property
    def always(self) -> bool:
        """Whether it is so from the start to the end, wherever it is planted."""
        return self.range_j != RANGE_J or self.counts != 1.0 or self.wall is not None


CALM: Final = Fault("nothing", None)
FAULTS: Final = (
    CALM,
    Fault("counter stands, 3 s", "counter_stalled", way="stands"),
    Fault("counter stands for good", "counter_stalled", FOR_GOOD, "stands"),
    Fault("counter jumps by 50 kJ", "counter_jump", 0.1, "jumps", 50_000.0),
    Fault("counter jumps by 0.2 kJ", "counter_jump", 0.1, "jumps", 200.0),
    Fault("counter jumps by 50 J", None, 0.1, "jumps", 50.0),
    Fault("counter wraps every 65 kJ", None, range_j=65_532.610987),
    Fault("counter starts again", "counter_reset", 0.1, "restarts"),
    Fault("counter's file vanishes", "device_lost", FOR_GOOD, "vanishes"),
    Fault("counter's file vanishes, 3 s", "device_lost", way="vanishes"),
    Fault("throttled by heat, 3 s", "throttled", way="hot", slow=1.5, less=0.7),
    Fault("throttled by heat, 0.1 s", "throttled", 0.1, "hot", slow=1.5, less=0.7),
    Fault("throttled by heat, 60 s", "throttled", 60.0, "hot", slow=1.5, less=0.7),
    Fault("CPU's clock falls by 20 %, 3 s", "cpu_frequency_change", slow=1.25, less=0.7, mhz=0.8),
    Fault("CPU's clock falls by 20 % for good", "cpu_frequency_change", FOR_GOOD,
          slow=1.25, less=0.7, mhz=0.8),
    Fault("other programs take the CPUs, 30 s", "other_load", 30.0, slow=1.3, watts=60.0, others=0.4),
    Fault("on battery, 30 s", "on_battery", 30.0, "battery"),
    Fault("on battery from then on", "on_battery", FOR_GOOD, "battery"),
    Fault("wall meter on one of two plugs", "above_wall_high", wall=0.5),
    Fault("wall meter tells three quarters", "above_wall", wall=0.75),
    Fault("wall meter's clock is 5 s behind", "above_wall_high", wall=1.0, late_s=5.0),
    Fault("counter counts 10 % too little, with a wall meter", None, counts=0.9, wall=1.0),
)  # fmt: skip


class _Times(NamedTuple):
    """As `psutil.cpu_times` has them."""

    user: float
    idle: float


class RaplBench:
    """A CPU in `folder` with one fault, which begins `start_s` into the run, in the recorder's seconds."""

    watched: Collection[str] = cpu_load.ON_CPU

    def __init__(self, folder: Path, fault: Fault = CALM, start_s: float = 0.0) -> None:
        self.fault, self._folder = fault, folder
        self._files = CpuFiles(folder, fault.range_j, RANGE_J, LIMIT_W)
        self._files.heat(WARM_C, 0, 0.0)
        self._device = Device()
        self.clock = self._device.clock
        self._origin_s, self._looked_s, self._worked_s = inf, 0.0, 0.0  # no run yet
        self._start_s = 0.0 if fault.always else start_s
        self._seconds = FOR_GOOD if fault.always else fault.seconds
        self._device.draw(IDLE_W)

    def draw(self, watts: float) -> None:
        """From now on."""
        self._device.draw(watts)

    def work(self, watts: float, seconds: float) -> float:
        """A fault may stretch it, and have it draw less."""
        began_s, left_s = self.clock.monotonic(), seconds
        while left_s > 1e-9:
            on = self._is_on
            slow = self.fault.slow if on else 1.0
            part_s = min(left_s * slow, self._until_change_s())
            self._device.draw(watts * (self.fault.less if on else 1.0))
            self.clock.sleep(part_s)
            left_s -= part_s / slow
        self._device.draw(IDLE_W)
        took_s = self.clock.monotonic() - began_s
        self._worked_s += took_s
        return took_s

    def meters(self) -> list[Meter]:
        """The package's counter and the memory's, looked at between edges as by their threads."""
        self._write()
        self.clock.listeners.append(lambda _: self._write())
        heat = CpuHeat(self._files.sys)
        opened = [
            RaplCounter("cpu_package", self._files.zones, self.clock, heat),
            RaplCounter("dram", self._files.zones, self.clock),
        ]
        self._origin_s = self._looked_s = self.clock.monotonic()
        self.clock.step_s = look_s(TICK_S)
        self.clock.listeners.append(lambda now_s: self._look(opened, now_s))
        return list(opened)

    @contextmanager
    def played(self) -> Iterator[None]:
        """What psutil tells of this CPU."""
        told = {
            "cpu_times": self._cpu_times,
            "cpu_freq": lambda: Namespace(current=MHZ * (self.fault.mhz if self._is_on else 1.0)),
            "cpu_count": lambda: CPUS,
            "sensors_battery": lambda: Namespace(power_plugged=not self._is("battery")),
        }
        with ExitStack() as stack:
            for name, read in told.items():
                stack.enter_context(mock.patch.object(psutil, name, read, create=True))
            stack.enter_context(mock.patch.object(cpu_load, "time", self.clock))
            stack.enter_context(mock.patch.object(OwnProcesses, "cpu_s", self._own_s))
            yield

    def join(self, recorder: Recorder) -> None:
        """The wall meter's log, if there is one, once all windows are over."""
        if self.fault.wall is None:
            return
        lines, log_epoch_s = ["timestamp,wh"], recorder.origin_epoch_s - self.fault.late_s
        for second in range(-1, floor(self._now_s + self.fault.late_s) + 2):
            at = datetime.fromtimestamp(log_epoch_s + second, UTC)
            wall_j = self.fault.wall * self._wall_j(self._origin_s + second)
            lines.append(f"{at.isoformat()},{wall_j / JOULES_PER_WH:.9f}")
        path = self._folder / "wall.csv"
        path.write_text("\n".join(lines))
        recorder.join(WallLog(path))

    def fell_into(self, start_s: float, end_s: float) -> bool:
        """Whether the fault touched a window, in a recorder's seconds."""
        touched = start_s < self._start_s + self._seconds and end_s > self._start_s
        return self.fault != CALM and touched

    @property
    def _now_s(self) -> float:
        return self.clock.monotonic() - self._origin_s

    @property
    def _is_on(self) -> bool:
        return self._start_s <= self._now_s < self._start_s + self._seconds

    def _is(self, way: Way) -> bool:
        return self.fault.way == way and self._is_on

    def _until_change_s(self) -> float:
        """Until the fault begins or ends; at least what moves the clock."""
        changes = (self._start_s - self._now_s, self._start_s + self._seconds - self._now_s)
        return max(min((s for s in changes if s > 0), default=FOR_GOOD), 1e-9)

    def _on_s(self, at_s: float) -> float:
        """For how long the fault has been there by then."""
        return min(max(at_s - self._origin_s - self._start_s, 0.0), self._seconds)

    def _true_j(self, at_s: float) -> float:
        """Of the package."""
        return self._device.joules(at_s) + self.fault.watts * self._on_s(at_s)

    def _wall_j(self, at_s: float) -> float:
        at_s = max(at_s, 0.0)
        return ((1 + DRAM) * self._true_j(at_s) + REST_W * at_s) / EFFICIENCY

    def _counted_j(self) -> float:
        """What the package's register shows of the last tick."""
        at_s = floor(self.clock.monotonic() / TICK_S + 1e-6) * TICK_S
        found_j, on_s = START_J + self.fault.counts * self._true_j(at_s), self._on_s(at_s)
        begun_s = self._origin_s + self._start_s
        if on_s > 0 and self.fault.way == "stands":
            found_j -= self._true_j(begun_s + on_s) - self._true_j(begun_s)
        elif on_s > 0 and self.fault.way == "restarts":
            found_j = self._true_j(at_s) - self._true_j(begun_s)
        elif on_s > 0 and self.fault.way == "jumps":
            found_j += self.fault.jump_j
        return found_j % self.fault.range_j

    def _own_s(self) -> float:
        return CPUS * self._worked_s

    def _cpu_times(self) -> _Times:
        now_s = self.clock.monotonic()
        busy_s = self._own_s() + self.fault.others * CPUS * self._on_s(now_s)
        return _Times(busy_s, CPUS * now_s - busy_s)

    def _look(self, counters: Sequence[RaplCounter], now_s: float) -> None:
        """As often as their threads do; an error there may pass."""
        if now_s - self._looked_s < look_s(TICK_S) - 1e-6:
            return
        self._looked_s = now_s
        for counter in counters:
            with suppress(Lost):
                counter.read()

    def _write(self) -> None:
        """What the kernel shows now. A throttling counts when it begins, and its time when it is over."""
        now_s = self.clock.monotonic()
        gone, on_s = self._is("vanishes"), self._on_s(now_s)
        self._files.count(None if gone else self._counted_j(), DRAM * self._true_j(now_s))
        if self.fault.way == "hot":
            over = on_s >= self._seconds
            self._files.heat(
                HOT_C if self._is_on else WARM_C, int(on_s > 0), 1000 * self._seconds * over
            )
