"""How a device fared while it was metered: power, heat, clocks; kept, and resampled to a compact trace."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple, TypeVar

from greenbench.schema.window import Trace

TRACE_POINTS = 60
KEPT = 200_000  # samples: more than an hour, longer than any window


class Sample(NamedTuple):
    """Power of the whole device at one moment."""

    time_s: float
    power_w: float


class Telemetry(NamedTuple):
    """How the device is; of several, the hottest, slowest and busiest. None: not reported."""

    time_s: float
    temperature_c: int | None = None
    sm_mhz: int | None = None
    mem_mhz: int | None = None
    throttle: int | None = None
    """Clock event reasons, NVML's bits, of all GPUs together."""
    utilization: int | None = None
    """Per cent of time with a kernel running."""
    strangers: int | None = None
    """Processes that are not the run's and compute, on the GPU that has most."""
    neighbours: int | None = None
    """Those that hold a context there and compute nothing, as a desktop's or a monitor's."""


class Kept:
    """What was seen of the device, from which the trace of any window is made."""

    def __init__(self, step_s: float) -> None:
        """`step_s`: how far apart the points of a trace are at least."""
        self.step_s = step_s
        self.power: deque[Sample] = deque(maxlen=KEPT)
        self.others: deque[Telemetry] = deque(maxlen=KEPT)

    def is_due(self, now_s: float) -> bool:
        """Whether all but power is to be looked at, which moves slower."""
        return not self.others or now_s - self.others[-1].time_s >= self.step_s

    def trace(self, start_s: float, end_s: float) -> Trace:
        """Of what lies between two monotonic times."""
        power = [each for each in self.power if start_s <= each.time_s <= end_s]
        others = [each for each in self.others if start_s <= each.time_s <= end_s]
        return resample(power, others, start_s, end_s, self.step_s)


def resample(
    samples: Sequence[Sample],
    telemetry: Sequence[Telemetry],
    start_s: float,
    end_s: float,
    least_step_s: float,
) -> Trace:
    """The trace of the window from `start_s` to `end_s`, in steps of `least_step_s` or more."""
    points = max(1, min(TRACE_POINTS, int((end_s - start_s) / least_step_s)))
    step_s = (end_s - start_s) / points
    power = _steps(samples, start_s, step_s, points)
    others = _steps(telemetry, start_s, step_s, points)
    return Trace(
        step_s=step_s,
        power_w=[_mean([s.power_w for s in step]) for step in power],
        temperature_c=[known(max, [t.temperature_c for t in step]) for step in others],
        sm_mhz=[known(min, [t.sm_mhz for t in step]) for step in others],
        mem_mhz=[known(min, [t.mem_mhz for t in step]) for step in others],
        throttle=[known(bits, [t.throttle for t in step]) for step in others],
        utilization=[known(max, [t.utilization for t in step]) for step in others],
    )


T = TypeVar("T", Sample, Telemetry)


def _steps(values: Sequence[T], start_s: float, step_s: float, points: int) -> list[list[T]]:
    steps: list[list[T]] = [[] for _ in range(points)]
    for value in values:
        steps[min(int((value.time_s - start_s) / step_s), points - 1)].append(value)
    return steps


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def bits(values: Sequence[int]) -> int:
    """All that are set in any."""
    return reduce(or_, values, 0)


def known(pick: Callable[[list[int]], int], values: Sequence[int | None]) -> int | None:
    """`pick` of those that were reported; null where none was."""
    reported = [value for value in values if value is not None]
    return pick(reported) if reported else None
