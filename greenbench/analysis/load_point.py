"""Both models at one load: energy, latency and throughput with intervals, and their ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Final, Literal, NamedTuple

from greenbench.analysis.blocks import as_quantity, doubted, half_width, level, paired
from greenbench.analysis.load_latency import NO_ANSWER, PERCENTILES, percentile, percentile_ratio
from greenbench.analysis.queueing import saturated
from greenbench.analysis.readings import Reading, each, joules, provenance
from greenbench.schema.metrics import (
    BATCH,
    BUSY,
    ENERGY_PER_ANY_TOKEN,
    ENERGY_PER_REQUEST,
    ENERGY_PER_TOKEN,
    GOOD,
    GOODPUT,
    IN_FLIGHT,
    MARGINAL_ENERGY_PER_REQUEST,
    POWER,
    QUEUE,
    THROUGHPUT,
    Metric,
)
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.traffic import AtLoad, LoadPoint
from greenbench.schema.window import Phase, Window
from greenbench.stats.intervals import paired_ratio
from greenbench.stats.resampling import share_interval

SERVED: Final[tuple[Phase, ...]] = ("serve",)
NO_LIMITS = "no limits were given: slo.ttft_ms, slo.tpot_ms"
NO_QUEUE = "the server does not tell how many requests it has"
NOT_ABOVE_IDLE = "a block's energy above idle is not above 0: windows are too short to tell"


def seconds(window: Window) -> float:
    """How long it lasted."""
    return window.end_s - window.start_s


def requests(window: Window) -> float:
    """Answers made within it."""
    return window.traffic.requests if window.traffic else 0.0


def _good(window: Window) -> float | None:
    return window.traffic.good if window.traffic else None


def _told(window: Window, name: Literal["running", "waiting"]) -> float | None:
    gauges = window.traffic.gauges if window.traffic else None
    told = [each for each in (getattr(gauges, name) if gauges else ()) if each is not None]
    return sum(told) / len(told) if told else None


def _traffic(window: Window, name: str) -> float:
    return float(getattr(window.traffic, name, 0.0))


READINGS: Final = (
    Reading(ENERGY_PER_REQUEST, SERVED, lambda w: each(joules(w), requests(w)), energy=True),
    Reading(ENERGY_PER_TOKEN, SERVED, lambda w: each(joules(w), w.tokens), energy=True),
    Reading(ENERGY_PER_ANY_TOKEN, SERVED,
            lambda w: each(joules(w), w.tokens + w.prompt_tokens), energy=True),
    Reading(POWER, SERVED, lambda w: each(joules(w), seconds(w)), energy=True),
    Reading(THROUGHPUT, SERVED, lambda w: each(requests(w), seconds(w))),
    Reading(GOODPUT, SERVED, lambda w: each(_good(w), seconds(w))),
    Reading(BUSY, SERVED, lambda w: _traffic(w, "busy")),
    Reading(IN_FLIGHT, SERVED, lambda w: each(_traffic(w, "flight_s"), seconds(w))),
    Reading(BATCH, SERVED, lambda w: _told(w, "running")),
    Reading(QUEUE, SERVED, lambda w: _told(w, "waiting")),
)  # fmt: skip
LACKS: Final[Mapping[Metric, str]] = {GOODPUT: NO_LIMITS, BATCH: NO_QUEUE, QUEUE: NO_QUEUE}


class Sides(NamedTuple):
    """The windows of one load, by block in one order."""

    baseline: list[Window]
    candidate: list[Window]


def load_point(
    load: float, sides: Sides, idle: Quantity, *, is_open: bool, no_energy: str
) -> LoadPoint:
    """What the windows at one load show; `idle` is the power with the models loaded.

    Levels are means over blocks, and percentiles of the requests of all blocks; ratios are paired by
    block. `is_open`: arrivals that do not wait for answers, so that a queue may grow.
    """
    before, after = (
        AtLoad(metrics=_levels(windows, idle, full, no_energy), saturated=full)
        for windows in sides
        for full in [is_open and saturated(windows)]
    )
    return LoadPoint(
        load=load,
        blocks=len(sides.baseline),
        baseline=before,
        candidate=after,
        ratios=_ratios(sides, idle, before.saturated or after.saturated, no_energy),
    )


def _levels(
    windows: Sequence[Window], idle: Quantity, full: bool, no_energy: str
) -> dict[str, Quantity]:
    by_block = {
        reading.metric.name: level(
            _values(windows, reading),
            reading.metric.unit,
            provenance(windows, reading),
            no_energy,
            LACKS.get(reading.metric, NO_ANSWER),
        )
        for reading in READINGS
    }
    pooled = {wanted.metric.name: percentile(windows, wanted, full) for wanted in PERCENTILES}
    return {
        **by_block,
        MARGINAL_ENERGY_PER_REQUEST.name: _marginal(windows, idle, no_energy),
        GOOD.name: _share(windows),
        **pooled,
    }


def _ratios(sides: Sides, idle: Quantity, full: bool, no_energy: str) -> dict[str, Quantity]:
    windows = sides.baseline
    by_block = {
        reading.metric.ratio: paired(
            _values(sides.baseline, reading),
            _values(sides.candidate, reading),
            provenance(windows, reading),
            no_energy,
            LACKS.get(reading.metric, NO_ANSWER),
        )
        for reading in READINGS
        if reading.metric.ratio
    }
    pooled = {wanted.metric.ratio: percentile_ratio(sides, wanted, full) for wanted in PERCENTILES}
    marginal = {MARGINAL_ENERGY_PER_REQUEST.ratio: _marginal_ratio(sides, idle, no_energy)}
    return by_block | marginal | pooled


def _values(windows: Sequence[Window], reading: Reading) -> list[float]:
    """One value per block; empty if any block lacks it."""
    found = [reading.value(window) for window in windows]
    return [] if None in found else [value for value in found if value is not None]


def _share(windows: Sequence[Window]) -> Quantity:
    good = [_good(window) for window in windows]
    due = int(sum(_traffic(window, "due") for window in windows))
    if None in good or not due:
        return missing(GOOD.unit, NO_LIMITS if due else NO_ANSWER)
    count = int(sum(each for each in good if each is not None))
    return as_quantity(share_interval(count, due), GOOD.unit, "measured:clock")


def _above_idle(windows: Sequence[Window], power_w: float) -> list[float]:
    """Joules per request above idle, by block; empty where a block lacks them."""
    found = [
        each(None if (j := joules(w)) is None else j - power_w * seconds(w), requests(w))
        for w in windows
    ]
    return [] if None in found else [value for value in found if value is not None]


def _marginal(windows: Sequence[Window], idle: Quantity, no_energy: str) -> Quantity:
    """Its interval is of the blocks and of idle power together, which all of them share."""
    unit, source = MARGINAL_ENERGY_PER_REQUEST.unit, provenance(windows, READINGS[0])
    values = _above_idle(windows, idle.value or 0.0)
    if not values or idle.value is None:
        return missing(unit, _no_marginal(windows, idle, no_energy))
    found = level(values, unit, source, no_energy)
    shift = half_width(idle) * sum(map(_slowness, windows)) / len(windows)
    return doubted(found, shift, idle)


def _marginal_ratio(sides: Sides, idle: Quantity, no_energy: str) -> Quantity:
    before, after = (_above_idle(side, idle.value or 0.0) for side in sides)
    source = provenance(sides.baseline, READINGS[0])
    if not before or not after or idle.value is None:
        return missing("ratio", _no_marginal([*sides.baseline, *sides.candidate], idle, no_energy))
    if min(*before, *after) <= 0:
        return missing("ratio", NOT_ABOVE_IDLE)
    found = as_quantity(paired_ratio(before, after), "ratio", source)
    slopes = [  # of the log-ratio, by a watt of idle power
        _slowness(first) / one - _slowness(second) / other
        for first, one, second, other in zip(
            sides.baseline, before, sides.candidate, after, strict=True
        )
    ]
    value, interval = found.value, found.bounds
    if value is None or interval is None:
        return found
    in_logs = {"value": log(value), "low": log(interval[0]), "high": log(interval[1])}
    shift = half_width(idle) * sum(slopes) / len(slopes)
    wide = doubted(found.model_copy(update=in_logs), shift, idle)
    low, high = (None if bound is None else exp(bound) for bound in (wide.low, wide.high))
    return wide.model_copy(update={"value": value, "low": low, "high": high})


def _slowness(window: Window) -> float:
    """Seconds of the window per request: what a watt of idle power comes to."""
    return seconds(window) / requests(window)


def _no_marginal(windows: Sequence[Window], idle: Quantity, no_energy: str) -> str:
    if provenance(windows, READINGS[0]) == "unavailable":
        return no_energy
    return (idle.reason or "idle power is not known") if idle.value is None else NO_ANSWER
