"""Warm-up: until heat and power, or latency where there is no sensor, have settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from greenbench.engines.engine import Served
from greenbench.measure.pair import Pair
from greenbench.measure.requests import Requests, seconds_of
from greenbench.schema.record import Settling
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import WHO, Trace, Who

SPAN_S = 30.0  # slopes are given over this long
TEMPERATURE_C = 1.0  # settled: under 1 degree in SPAN_S
POWER = 0.005  # settled: under 0.5 % in SPAN_S, or a slope within its own noise
LATENCY = 0.02  # no sensor: under 2 % in SPAN_S, or a slope within its own noise
POINTS = 6  # fewer show no slope
Look: TypeAlias = Callable[[float, float], Trace | None]
"""How the device fared between two monotonic times; null where no meter looks."""


class Point(NamedTuple):
    """One request of the warm-up."""

    time_s: float
    seconds: float


def warm_up(
    pair: Pair, requests: Requests, protocol: ProtocolSpec, look: Look
) -> dict[Who, Settling]:
    """Run each model's requests, unmetered, until settled or ``protocol.warmup_limit_s``."""
    found: dict[Who, Settling] = {}
    for who in WHO:
        with pair.use(who) as served:
            found[who] = warm(served, requests, protocol, look)
    return found


def warm(served: Served, requests: Requests, protocol: ProtocolSpec, look: Look) -> Settling:
    """Run one model's requests, unmetered, until settled or ``protocol.warmup_limit_s``."""
    start_s = time.monotonic()
    points: list[Point] = []
    while True:
        batch = served.complete(requests.batch(len(points)))
        tokens = sum(done.tokens for done in batch)
        points.append(Point(time.monotonic(), seconds_of(batch) / tokens))
        spent_s = points[-1].time_s - start_s
        if spent_s >= protocol.warmup_s:
            state = settling(points, spent_s, look)
            if state.settled or spent_s >= protocol.warmup_limit_s:
                return state


def settling(points: Sequence[Point], spent_s: float, look: Look) -> Settling:
    """Where the warm-up stands after `spent_s` seconds."""
    sensed = _sensed(look, points[-1].time_s, spent_s)
    by = "temperature and power" if sensed else "latency"
    settled, slopes = sensed or _latency(points)
    return Settling(seconds=spent_s, iterations=len(points), settled=settled, by=by, slopes=slopes)


def _sensed(look: Look, now_s: float, spent_s: float) -> tuple[bool, dict[str, float]] | None:
    """Slopes of what the GPU's sensors say, and whether they are flat; null where they do not say.

    Heat counts over the last SPAN_S whatever warmed the device, power only over the later half of
    this warm-up: before it another model ran, or none.
    """
    hot, busy = look(now_s - SPAN_S, now_s), look(now_s - min(SPAN_S, spent_s / 2), now_s)
    if hot is None or busy is None:
        return None
    heat = [float(value) for value in hot.temperature_c if value is not None]
    power = [value for value in busy.power_w if value is not None]
    if len(heat) < POINTS or len(power) < POINTS:
        return None
    warming, _ = _slope(heat)
    rising, noise = (s * SPAN_S / busy.step_s / float(np.mean(power)) for s in _slope(power))
    warming *= SPAN_S / hot.step_s
    settled = abs(warming) < TEMPERATURE_C and abs(rising) < max(POWER, noise)
    return settled, {"temperature_c_per_30_s": warming, "power_fraction_per_30_s": rising}


def _slope(values: Sequence[float]) -> tuple[float, float]:
    """Least-squares slope per point, and two standard errors of it."""
    times = np.arange(len(values))
    (slope, start), covariance = np.polyfit(times, values, 1, cov="unscaled")
    spread = np.std(np.asarray(values) - slope * times - start, ddof=2)
    return float(slope), float(2 * spread * np.sqrt(covariance[0][0]))


def _latency(points: Sequence[Point]) -> tuple[bool, dict[str, float]]:
    """Slope of seconds per token over the later half, relative to its mean, and whether it is flat."""
    late = points[len(points) // 2 :]
    if len(late) < POINTS // 2:
        return False, {}
    times, seconds = (np.array([p[column] for p in late]) for column in (0, 1))
    (slope, _), covariance = np.polyfit(times, seconds, 1, cov="unscaled")
    spread = np.std(seconds - np.poly1d(np.polyfit(times, seconds, 1))(times), ddof=2)
    relative = float(slope * SPAN_S / seconds.mean())
    noise = float(2 * spread * np.sqrt(covariance[0][0]) * SPAN_S / seconds.mean())
    return abs(relative) < max(LATENCY, noise), {"latency_fraction_per_30_s": relative}
