"""Power that is sampled, and integrated by trapezoids: a cumulative counter like any other."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Self

from greenbench.machine.clock import Clock
from greenbench.meters.meter import Meter, Reading, keep_reading
from greenbench.meters.telemetry import Kept, Sample, Telemetry
from greenbench.schema.window import Trace

PERIOD_S = 0.05
GAP_PERIODS = 10  # this long without a sample, and what the device drew is a guess
TELEMETRY_PERIODS = 5  # temperatures and clocks move slower than power


class SampledPower(Meter):
    """A device's power: the check of its counter, or its stand-in. Joules count from the opening.

    Samples when read, and in the background once :meth:`start` was called. A subclass says what the device
    draws and how it is.
    """

    def __init__(self, clock: Clock, period_s: float) -> None:
        self.period_s, self._clock = period_s, clock
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._energy_j, self._faults = 0.0, list[str]()
        self._kept = Kept(TELEMETRY_PERIODS * period_s)

    @abstractmethod
    def power_w(self) -> float:
        """What the device draws now; raises Lost if it has vanished."""

    @abstractmethod
    def look(self, now_s: float) -> tuple[Telemetry, list[str]]:
        """How it is now, and the fault codes of that."""

    def start(self) -> Self:
        """Sample in the background until closed."""
        keep_reading(self.read, self.period_s, self._closed)
        return self

    def read(self) -> Reading:
        """Take a sample; joules so far up to it."""
        with self._lock:
            start_s = self._clock.monotonic()
            power_w = self.power_w()
            read_s = self._clock.monotonic() - start_s
            now_s = start_s + read_s / 2
            self._add(Sample(now_s, power_w))
            if self._kept.is_due(now_s):
                telemetry, codes = self.look(now_s)
                self._kept.others.append(telemetry)
                self._faults += codes
            return Reading(now_s, self._energy_j, faults=tuple(self._faults), read_s=read_s)

    def _add(self, sample: Sample) -> None:
        if self._kept.power:
            last = self._kept.power[-1]
            elapsed_s = sample.time_s - last.time_s
            self._energy_j += elapsed_s * (sample.power_w + last.power_w) / 2
            if elapsed_s > GAP_PERIODS * self.period_s:
                self._faults.append("sampler_gap")
        self._kept.power.append(sample)

    def trace(self, start_s: float, end_s: float) -> Trace:
        """What happened between two monotonic times, resampled."""
        with self._lock:
            return self._kept.trace(start_s, end_s)

    def close(self) -> None:
        """Stop sampling."""
        self._closed.set()
