"""A device that does nothing but draw watts, and its counter of joules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from math import floor
from typing import Final, Protocol

from greenbench.machine.clock import Clock
from greenbench.measure.recorder import Recorder
from greenbench.meters.meter import Meter, Reading, Tallies, Tally
from greenbench.schema.quantity import Boundary, Provenance
from greenbench.simulate.moved_clock import MovedClock

COUNT_J: Final = 0.001
IDLE_W: Final = 70.0


class Bench(Protocol):
    """Where a simulated model runs."""

    clock: MovedClock
    watched: Collection[str]
    """Codes of what others do with the CPUs that a recorder looks for."""

    def draw(self, watts: float) -> None:
        """Draw so much from now on."""

    def work(self, watts: float, seconds: float) -> float:
        """Draw so much for so many seconds' work, and idle then; the seconds that it took."""

    def meters(self) -> list[Meter]:
        """What counts it, the primary meter first."""

    def played(self) -> AbstractContextManager[None]:
        """What is in place while the run lasts."""

    def join(self, recorder: Recorder) -> None:
        """Add what is known once all windows are over, as a wall meter's log is."""


class Device:
    """Watts over time, exactly; its counter steps once a tick, like a GPU's."""

    watched: Collection[str] = ()

    def __init__(self, tick_s: float = 0.1) -> None:
        self.clock, self.tick_s = MovedClock(), tick_s
        self._times, self._joules, self._watts = [0.0], [0.0], [0.0]

    def draw(self, watts: float) -> None:
        """From now on."""
        now_s = self.clock.monotonic()
        self._joules.append(self.joules(now_s))
        self._times.append(now_s)
        self._watts.append(watts)

    def work(self, watts: float, seconds: float) -> float:
        """Nothing stretches it."""
        self.draw(watts)
        self.clock.sleep(seconds)
        self.draw(IDLE_W)
        return seconds

    def played(self) -> AbstractContextManager[None]:
        """Nothing is."""
        return nullcontext()

    def join(self, recorder: Recorder) -> None:
        """Nothing is."""

    def meters(self) -> list[Meter]:
        """One counter."""
        return [Counter(self)]

    def joules(self, at_s: float) -> float:
        """From the start until then."""
        place = bisect_right(self._times, at_s) - 1
        return self._joules[place] + self._watts[place] * (at_s - self._times[place])

    def counted(self) -> int:
        """What the counter's register shows now, in thousandths of a joule."""
        now_s = self.clock.monotonic()
        return round(self.joules(floor(now_s / self.tick_s + 1e-9) * self.tick_s) / COUNT_J)


class Counter(Meter):
    """The device's counter, read as every raw counter is: `Tallies` see it stall, jump and reset."""

    boundary: Boundary = "gpu"
    provenance: Provenance = "measured:plugin"
    note = "SIMULATED: no device exists; the joules are those of a made-up lab"

    def __init__(self, device: Device) -> None:
        self.name, self.tick_s, self._device = "simulated", device.tick_s, device
        self._tallies = Tallies([Tally(device.counted(), 0.0, COUNT_J, most_w=5000.0)])

    def read(self) -> Reading:
        """Joules so far."""
        clock: Clock = self._device.clock
        return self._tallies.read(lambda: [self._device.counted()], clock, self.tick_s)

    def close(self) -> None:
        """Nothing is held."""
