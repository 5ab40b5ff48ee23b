"""The one thing every meter is: a cumulative joule counter, read at a monotonic time."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple, Protocol

from greenbench.errors import Lost
from greenbench.machine.clock import Clock
from greenbench.machine.processes import OwnProcesses
from greenbench.schema import window
from greenbench.schema.quantity import Boundary, Provenance

PROBE_S = 2.5  # the slowest counters known step once a second
PROBE_STEPS = 4
POLL_S = 0.001
LOOK_S, LOOK_TICKS = 0.1, 4  # how often a counter is looked at between the edges of windows
STALL_TICKS = 10  # a counter that stands still this long has stopped, not paused
FLAG_RESIDUAL, INVALID_RESIDUAL = 0.05, 0.10  # design rule 2

IMPLAUSIBLE_W = 2000.0  # no CPU package draws this much: such a wrap is a reset
OVER_LIMIT = 2.0  # times its own power limit no device draws for as long as a look at its counter


Device = Literal["cpu", "gpu"]


class Reading(NamedTuple):
    """Joules counted so far.

    `energy_j` never decreases; `low_j` and `high_j` are set by estimates only. `faults` lists
    every fault code since the meter was opened, in order: it is cumulative too. `read_s` seconds it
    took, within which its time is not known.
    """

    time_s: float
    energy_j: float
    low_j: float | None = None
    high_j: float | None = None
    faults: tuple[str, ...] = ()
    read_s: float | None = None


class Place(NamedTuple):
    """What a meter is opened for."""

    uuids: Sequence[str]
    """The run's GPUs; none: it is on the CPU."""
    own: OwnProcesses
    """The processes that do the run's work."""
    cpu_tdp_w: float | None = None
    """As ``meter.cpu_tdp_w`` gives it."""
    unseen: str | None = None
    """Why the CPU time of what runs the model is not among that of `own`; null: it is."""
    neighbours: int = 0
    """Runs on other GPUs of this machine meanwhile."""

    @property
    def device(self) -> Device:
        """What runs the model."""
        return "gpu" if self.uuids else "cpu"


class Part(NamedTuple):
    """One of the counters that a meter's name stands for."""

    name: str
    open: Callable[[], Meter]
    """Raises Unavailable, in one sentence, where it does not answer."""
    alone: bool = False
    """Whether it is of use where those before it do not answer."""


class Meter(Protocol):
    """A cumulative joule counter with a boundary, a provenance and a tick.

    With a `name` and a `summary` in its body, the class is a meter to choose in ``meter.order``.
    """

    name: str
    covers: ClassVar[frozenset[Device]] = frozenset({"cpu", "gpu"})
    """Runs on which of the two it counts the device of."""
    boundary: Boundary
    provenance: Provenance
    tick_s: float
    """Seconds between two steps of the counter: the resolution of a window's edges."""
    note: str | None
    """What a reader of its numbers must know, such as an assumed share of the machine."""
    checks: str | None = None
    """Name of the meter whose joules it counts independently, so that their difference is telling."""

    unseen: str | None = None
    """What it could not see of the run by now, as a reader of its numbers must know."""

    @classmethod
    def parts(cls, place: Place) -> Sequence[Part]:
        """What to open where it is chosen, what matters most first: itself, without arguments."""
        return [Part(cls.name, cls)]

    def read(self) -> Reading:
        """Joules so far; raises Lost if the device has vanished."""

    def trace(self, start_s: float, end_s: float) -> window.Trace | None:
        """How the device fared between two monotonic times; null where the meter does not look."""
        return None

    def close(self) -> None:
        """Let go of the device."""


def span(meter: Meter, start: Reading, end: Reading, origin_s: float) -> window.Span:
    """What `meter` counted between two readings; times count from `origin_s` (monotonic)."""
    return window.Span(
        meter=meter.name,
        boundary=meter.boundary,
        provenance=meter.provenance,
        tick_s=meter.tick_s,
        start_s=start.time_s - origin_s,
        start_j=start.energy_j,
        end_s=end.time_s - origin_s,
        end_j=end.energy_j,
        low_j=_difference(start.low_j, end.low_j),
        high_j=_difference(start.high_j, end.high_j),
        read_s=max((took for took in (start.read_s, end.read_s) if took is not None), default=None),
    )


def _difference(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def codes(start: Reading, end: Reading) -> list[str]:
    """Codes of the faults between two readings of one meter: the window is invalid if any."""
    return sorted(set(end.faults[len(start.faults) :]))


def residual(counter: window.Span, check: window.Span) -> tuple[float | None, list[str]]:
    """How far `counter` is from the independent `check`, as a fraction of it, with its codes.

    Both spans must cover the same window and boundary. None where the check saw no power.
    """
    if counter.boundary != check.boundary:
        raise ValueError(f"{counter.boundary} and {check.boundary} cover different things")
    power_w = (check.end_j - check.start_j) / (check.end_s - check.start_s)
    if power_w <= 0:
        return None, ["residual_high"]
    counted_w = (counter.end_j - counter.start_j) / (counter.end_s - counter.start_s)
    apart = counted_w / power_w - 1
    high, low = abs(apart) > INVALID_RESIDUAL, abs(apart) > FLAG_RESIDUAL
    return apart, ["residual_high"] if high else ["residual"] if low else []


def at_edge(meter: Meter, clock: Clock) -> Reading:
    """Read `meter` just after its counter steps, so that a window starts with a whole tick.

    Waits two ticks at most. A summed counter steps with its first device: the others keep an
    error of up to a tick each.
    """
    first = reading = meter.read()
    while reading.energy_j == first.energy_j and reading.time_s - first.time_s < 2 * meter.tick_s:
        clock.sleep(meter.tick_s / 50)
        reading = meter.read()
    return reading


def keep_reading(read: Callable[[], Reading], period_s: float, closed: threading.Event) -> None:
    """`read` every `period_s` in the background until `closed`: between two edges nothing goes unseen.

    An error may pass: the next reading at a window's edge says whether the device is lost.
    """

    def run() -> None:
        while not closed.wait(period_s):
            with suppress(Lost):
                read()

    threading.Thread(target=run, daemon=True).start()


def look_s(tick_s: float) -> float:
    """Seconds between two looks at a counter of that tick, by which a stop within a window shows."""
    return max(LOOK_S, LOOK_TICKS * tick_s)


def probe(read: Callable[[], Sequence[int]], clock: Clock) -> list[float | None]:
    """Median seconds between the steps of each counter; None for one that does not move."""
    start_s, last = clock.monotonic(), read()
    steps: list[list[float]] = [[] for _ in last]
    while clock.monotonic() - start_s < PROBE_S and min(map(len, steps)) < PROBE_STEPS:
        clock.sleep(POLL_S)
        values, now_s = read(), clock.monotonic()
        for seen, old, new in zip(steps, last, values, strict=True):
            if new != old:
                seen.append(now_s)
        last = values
    return [_median_gap(seen) for seen in steps]


def _median_gap(times_s: list[float]) -> float | None:
    gaps = [end - start for start, end in pairwise(times_s)]
    return statistics.median(gaps) if gaps else None


@dataclass
class Tally:
    """Turns one raw counter, which may wrap, reset or stall, into a total that never decreases."""

    raw: int
    """Last value read."""
    moved_s: float
    """When that value was first seen, give or take `doubt_s`."""
    unit_j: float
    """Joules per count."""
    range: int | None = None
    """Highest value before the counter wraps; None if it does not."""
    most_w: float | None = None
    """What the device cannot draw, so that such a step is a jump; None if nobody knows."""
    doubt_s: float = 0.0
    total: int = 0

    @property
    def energy_j(self) -> float:
        """Joules since the first value."""
        return self.total * self.unit_j

    def advance(self, raw: int, now_s: float, tick_s: float, doubt_s: float = 0.0) -> str | None:
        """Take in a value that was read within `doubt_s` of `now_s` and return its fault code, if any.

        A step that no power explains is no energy: it is reported, and not counted.
        """
        fault, doubt = None, self.doubt_s + doubt_s
        if raw == self.raw:
            stood_s = now_s - self.moved_s - doubt  # at least
            return "counter_stalled" if stood_s > STALL_TICKS * tick_s else None
        step, elapsed_s = raw - self.raw, now_s - self.moved_s + doubt + tick_s  # at most
        if step < 0:
            step, fault = self._backwards(raw, elapsed_s)
        elif (
            self.most_w and (step - 1) * self.unit_j > self.most_w * elapsed_s
        ):  # a count may be coarse
            step, fault = 0, "counter_jump"
        self.raw, self.moved_s, self.doubt_s, self.total = raw, now_s, doubt_s, self.total + step
        return fault

    def _backwards(self, raw: int, elapsed_s: float) -> tuple[int, str | None]:
        wrapped = raw - self.raw + (self.range or 0)
        if self.range and wrapped * self.unit_j <= (self.most_w or IMPLAUSIBLE_W) * elapsed_s:
            return wrapped, None
        return raw, "counter_reset"


@dataclass
class Tallies:
    """Several counters read together, as one: their sum, and every fault so far."""

    each: list[Tally]
    faults: tuple[str, ...] = ()

    def read(self, raw: Callable[[], Sequence[int]], clock: Clock, tick_s: float) -> Reading:
        """Take in what `raw` gives, at the middle of the calls that read it: so well is its time known."""
        start_s, values = clock.monotonic(), raw()
        end_s = clock.monotonic()
        return self.advance(values, (start_s + end_s) / 2, tick_s, (end_s - start_s) / 2)

    def advance(
        self, values: Sequence[int], now_s: float, tick_s: float, doubt_s: float = 0.0
    ) -> Reading:
        """Take in a new value of each counter, all read within `doubt_s` of `now_s`."""
        pairs = zip(self.each, values, strict=True)
        found = [tally.advance(raw, now_s, tick_s, doubt_s) for tally, raw in pairs]
        self.faults += tuple(fault for fault in found if fault)
        total_j = sum(tally.energy_j for tally in self.each)
        return Reading(now_s, total_j, faults=self.faults, read_s=2 * doubt_s)
