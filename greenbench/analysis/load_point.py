"""Both models at one load: energy, latency and throughput with intervals, and their ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, log
from typing import Final, Literal, NamedTuple

import numpy as np

from greenbench.analysis.blocks import Taken, as_amount, as_quantity, stays
from greenbench.analysis.idle import doubted, half_width
from greenbench.analysis.load_latency import (
    NO_ANSWER,
    PERCENTILES,
    percentile,
    percentile_ratio,
)
from greenbench.analysis.queueing import backlog
from greenbench.analysis.readings import joules, source
from greenbench.schema.metrics import (
    BACKLOG,
    BATCH,
    BUSY,
    ENERGY_PER_ANY_TOKEN,
    ENERGY_PER_REQUEST,
    ENERGY_PER_TOKEN,
    FAILED,
    GOOD,
    GOODPUT,
    IN_FLIGHT,
    MARGINAL_ENERGY_PER_REQUEST,
    POWER,
    QUEUE,
    THROUGHPUT,
    Metric,
)
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.traffic import AtLoad, LoadPoint
from greenbench.schema.window import Window
from greenbench.stats.intervals import FEW_STAYS
from greenbench.stats.resampling import in_logs, jackknifed, ratio_of_sums, share_of_blocks

NO_LIMITS = "no limits were given: slo.ttft_ms, slo.tpot_ms"
NO_QUEUE = "the server does not tell how many requests it has"
NOT_ABOVE = "without one of the blocks it is not above 0: windows are too short to tell"


def seconds(window: Window) -> float:
    """How long it lasted."""
    return window.end_s - window.start_s


def requests(window: Window) -> float:
    """Answers made within it."""
    return window.traffic.requests if window.traffic else 0.0


def _good(window: Window) -> int | None:
    return window.traffic.good if window.traffic else None


def _told(window: Window, name: Literal["running", "waiting"]) -> float | None:
    gauges = window.traffic.gauges if window.traffic else None
    told = [each for each in (getattr(gauges, name) if gauges else ()) if each is not None]
    return sum(told) / len(told) if told else None


def _traffic(window: Window, name: str) -> float:
    return float(getattr(window.traffic, name, 0.0))


class Rate(NamedTuple):
    """A number of one load: all of one thing over all of another, in all blocks."""

    metric: Metric
    total: Callable[[Window], float | None]
    per: Callable[[Window], float]
    energy: bool = False

    def source(self, windows: Sequence[Window]) -> Provenance:
        """Where it comes from."""
        return source(windows) if self.energy else "measured:clock"

    def sums(self, windows: Sequence[Window]) -> tuple[list[float], list[float]] | None:
        """Totals and counts by block; null where a block lacks its total, or nothing is counted."""
        totals = [self.total(w) for w in windows]
        counts = [float(self.per(w)) for w in windows]
        known = [each for each in totals if each is not None]
        return (known, counts) if len(known) == len(windows) and any(counts) else None


REQUEST: Final = Rate(ENERGY_PER_REQUEST, joules, requests, energy=True)
RATES: Final = (
    REQUEST,
    Rate(ENERGY_PER_TOKEN, joules, lambda w: w.tokens, energy=True),
    Rate(ENERGY_PER_ANY_TOKEN, joules, lambda w: w.tokens + w.prompt_tokens, energy=True),
    Rate(POWER, joules, seconds, energy=True),
    Rate(THROUGHPUT, requests, seconds),
    Rate(GOODPUT, _good, seconds),
    Rate(BUSY, lambda w: _traffic(w, "busy") * seconds(w), seconds),
    Rate(IN_FLIGHT, lambda w: _traffic(w, "flight_s"), seconds),
    Rate(BATCH, lambda w: _told(w, "running"), lambda w: 1.0),
    Rate(QUEUE, lambda w: _told(w, "waiting"), lambda w: 1.0),
)
LACKS: Final[Mapping[Metric, str]] = {GOODPUT: NO_LIMITS, BATCH: NO_QUEUE, QUEUE: NO_QUEUE}


class Sides(NamedTuple):
    """The windows of one load, by block in one order."""

    baseline: list[Window]
    candidate: list[Window]

    def taken(self, planned: int | None, *, in_turn: bool) -> Taken:
        """How; `planned` blocks decided how many there are."""
        first = planned and sum(w.place.unit < planned for w in self.baseline if w.place)
        return Taken(first, stays([*self.baseline, *self.candidate]) if in_turn else None)


def load_point(
    load: float,
    sides: Sides,
    idle: Quantity,
    full: Sequence[bool],
    no_energy: str,
    *,
    planned: int | None = None,
    in_turn: bool = False,
) -> LoadPoint:
    """What the windows at one load show; `idle` is the power with the models loaded.

    Levels are of all blocks together, and so are percentiles and ratios of energy; each with the interval of
    the blocks, which pays for how they were taken: ratios are no surer than by the first `planned`, where
    these decided how many there are, nor, of models `in_turn`, than by their stays. `full`: whether the queue
    of each model grew.
    """
    before, after = (
        AtLoad(metrics=_levels(windows, idle, grew, no_energy), saturated=grew)
        for windows, grew in zip(sides, full, strict=True)
    )
    return LoadPoint(
        load=load,
        blocks=len(sides.baseline),
        baseline=before,
        candidate=after,
        ratios=_ratios(sides, idle, any(full), no_energy, sides.taken(planned, in_turn=in_turn)),
    )


def _levels(
    windows: Sequence[Window], idle: Quantity, full: bool, no_energy: str
) -> dict[str, Quantity]:
    pooled = {wanted.metric.name: percentile(windows, wanted, full) for wanted in PERCENTILES}
    return {
        **{rate.metric.name: _level(windows, rate, no_energy) for rate in RATES},
        MARGINAL_ENERGY_PER_REQUEST.name: _marginal(windows, idle, no_energy),
        GOOD.name: _share(windows),
        FAILED.name: failed_share(windows),
        BACKLOG.name: backlog(windows),
        **pooled,
    }


def _ratios(
    sides: Sides, idle: Quantity, full: bool, no_energy: str, taken: Taken
) -> dict[str, Quantity]:
    pooled = {
        wanted.metric.ratio: percentile_ratio(sides, wanted, full, taken) for wanted in PERCENTILES
    }
    marginal = {MARGINAL_ENERGY_PER_REQUEST.ratio: _marginal_ratio(sides, idle, no_energy, taken)}
    return {
        **{
            rate.metric.ratio: _ratio(sides, rate, no_energy, taken)
            for rate in RATES
            if rate.metric.ratio
        },
        **marginal,
        **pooled,
    }


def _level(windows: Sequence[Window], rate: Rate, no_energy: str) -> Quantity:
    sums = rate.sums(windows)
    if sums is None:
        return missing(rate.metric.unit, _lack(windows, rate, no_energy))
    most = 1.0 if rate.metric.unit == "fraction" else inf
    return as_amount(ratio_of_sums(*sums), rate.metric.unit, rate.source(windows), most)


def _ratio(sides: Sides, rate: Rate, no_energy: str, taken: Taken) -> Quantity:
    sums = [rate.sums(side) for side in sides]
    before, after = sums
    if before is None or after is None:
        return missing("ratio", _lack(sides.baseline, rate, no_energy))
    return _over(before, after, rate.source(sides.baseline), taken)


Sums = tuple[list[float], list[float]]


def _over(before: Sums, after: Sums, source: Provenance, taken: Taken) -> Quantity:
    """Candidate over baseline of two rates, each block left out of both in turn; no surer than as it was
    `taken`."""
    whole = [_without(each) for each in (before, after)]
    rests = [[_without(each, place) for place in range(len(each[0]))] for each in (before, after)]
    if min(*whole, *rests[0], *rests[1]) <= 0:
        return missing("ratio", NOT_ABOVE)
    ratios = [second / first for first, second in zip(*rests, strict=True)]
    value = whole[1] / whole[0]
    found = in_logs(value, ratios) if len(ratios) > 1 else jackknifed(value, ratios)
    own = [[total / count if count else 0.0 for total, count in zip(*each, strict=True)]
           for each in (before, after)]  # fmt: skip
    if found.bounds is None or min(map(min, own)) <= 0:
        return as_quantity(found, "ratio", source)
    least, (low, high) = taken.least(np.log(own)), found.bounds
    if least == inf:
        unknown = found._replace(low=None, high=None, reason=FEW_STAYS)
        return as_quantity(unknown, "ratio", source)
    reach = exp(least)
    wide = found._replace(low=min(low, value / reach), high=max(high, value * reach))
    return as_quantity(wide, "ratio", source)


def _without(sums: Sums, place: int | None = None) -> float:
    """Total over count, of all blocks or all but one; 0 where nothing is counted."""
    total, count = (
        sum(each for at, each in enumerate(part) if at != place or len(part) == 1) for part in sums
    )
    return total / count if count else 0.0


def _lack(windows: Sequence[Window], rate: Rate, no_energy: str) -> str:
    if rate.source(windows) == "unavailable":
        return no_energy
    return LACKS.get(rate.metric, NO_ANSWER)


def _share(windows: Sequence[Window]) -> Quantity:
    good = [count for window in windows if (count := _good(window)) is not None]
    due = [int(_traffic(window, "due")) for window in windows]
    if len(good) < len(windows) or not sum(due):
        return missing(GOOD.unit, NO_LIMITS if sum(due) else NO_ANSWER)
    return as_quantity(share_of_blocks(good, due), GOOD.unit, "measured:clock")


def failed_share(windows: Sequence[Window]) -> Quantity:
    """Of the requests that were due; missing where none was."""
    failed, due = ([int(_traffic(w, name)) for w in windows] for name in ("failed", "due"))
    if not sum(due):
        return missing(FAILED.unit, NO_ANSWER)
    return as_quantity(share_of_blocks(failed, due), FAILED.unit, "measured:clock")


def _above_idle(windows: Sequence[Window], power_w: float) -> Sums | None:
    """Joules above idle, and requests, by block."""

    def above(window: Window) -> float | None:
        spent_j = joules(window)
        return None if spent_j is None else spent_j - power_w * seconds(window)

    return Rate(MARGINAL_ENERGY_PER_REQUEST, above, requests).sums(windows)


def _marginal(windows: Sequence[Window], idle: Quantity, no_energy: str) -> Quantity:
    """Its interval is of the blocks and of idle power together, which all of them share."""
    unit, sums = MARGINAL_ENERGY_PER_REQUEST.unit, _above_idle(windows, idle.value or 0.0)
    if sums is None or idle.value is None:
        return missing(unit, _no_marginal(windows, idle, no_energy))
    found = as_quantity(ratio_of_sums(*sums), unit, source(windows))
    return doubted(found, half_width(idle) * _slowness(windows), idle)


def _marginal_ratio(sides: Sides, idle: Quantity, no_energy: str, taken: Taken) -> Quantity:
    before, after = (_above_idle(side, idle.value or 0.0) for side in sides)
    if before is None or after is None or idle.value is None:
        return missing("ratio", _no_marginal([*sides.baseline, *sides.candidate], idle, no_energy))
    found = _over(before, after, source(sides.baseline), taken)
    value, interval = found.value, found.bounds
    if value is None or interval is None:
        return found
    slopes = [  # of the logarithms, by a watt of idle power
        _slowness(side) / _without(sums) for side, sums in zip(sides, (before, after), strict=True)
    ]
    logs = {"value": log(value), "low": log(interval[0]), "high": log(interval[1])}
    shift = half_width(idle) * (slopes[0] - slopes[1])
    wide = doubted(found.model_copy(update=logs), shift, idle)
    low, high = (None if bound is None else exp(bound) for bound in (wide.low, wide.high))
    return wide.model_copy(update={"value": value, "low": low, "high": high})


def _slowness(windows: Sequence[Window]) -> float:
    """Seconds per request: what a watt of idle power comes to."""
    return sum(map(seconds, windows)) / sum(map(requests, windows))


def _no_marginal(windows: Sequence[Window], idle: Quantity, no_energy: str) -> str:
    if source(windows) == "unavailable":
        return no_energy
    return (idle.reason or "idle power is not known") if idle.value is None else NO_ANSWER
