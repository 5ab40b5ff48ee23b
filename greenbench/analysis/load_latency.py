"""Percentiles of the latencies of all requests at one load, and their ratios."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt
from typing import Final, NamedTuple

from greenbench.analysis.blocks import Taken, as_quantity, paired
from greenbench.analysis.queueing import GREW, UNBOUNDED, Kind, sample
from greenbench.schema.metrics import (
    E2E,
    E2E_P90,
    E2E_P99,
    TPOT,
    TPOT_P90,
    TPOT_P99,
    TTFT,
    TTFT_P90,
    TTFT_P99,
    Metric,
)
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.window import Window
from greenbench.stats.intervals import Interval, from_logs, t_quantile
from greenbench.stats.resampling import Sample, jackknifed, quantile

NO_ANSWER = "in a block no request was answered"
NO_LATENCY = "in a block no request has it"
LEAST: Final = {0.5: 1, 0.9: 10, 0.99: 100}
"""Requests that a percentile needs, pooled over blocks."""


class Percentile(NamedTuple):
    """A percentile of the latencies of all requests."""

    metric: Metric
    kind: Kind
    share: float


PERCENTILES: Final = (
    Percentile(TTFT, "ttft", 0.5), Percentile(TTFT_P90, "ttft", 0.9),
    Percentile(TTFT_P99, "ttft", 0.99), Percentile(TPOT, "tpot", 0.5),
    Percentile(TPOT_P90, "tpot", 0.9), Percentile(TPOT_P99, "tpot", 0.99),
    Percentile(E2E, "e2e", 0.5), Percentile(E2E_P90, "e2e", 0.9), Percentile(E2E_P99, "e2e", 0.99),
)  # fmt: skip


def percentile(windows: Sequence[Window], wanted: Percentile, full: bool) -> Quantity:
    """Of the requests of all blocks, its interval of the blocks; `full`: the queue grew."""
    _, kind, share = wanted
    pool, unit = [sample(window, kind) for window in windows], wanted.metric.unit
    size = sum(each.size for each in pool)
    if full:
        return missing(unit, GREW)
    if size < LEAST[share]:
        return missing(unit, _too_few(size, share))
    value = quantile(pool, share)
    if value == inf:
        endless = sum(each.endless for each in pool)
        return missing(unit, f"{UNBOUNDED}: {endless:g} of {size:g} requests were not answered")
    return as_quantity(_interval(pool, share, value), unit, "measured:clock")


def _interval(pool: Sequence[Sample], share: float, value: float) -> Interval:
    rests = [[*pool[:index], *pool[index + 1 :]] for index in range(len(pool))]
    without = [quantile(rest, share) for rest in rests if sum(each.size for each in rest)]
    if len(pool) == 1 or not value:
        return Interval(value, None, None, len(pool), "one observation has no interval")
    if len(without) < len(pool) or inf in without or not all(without):
        return Interval(value, None, None, len(pool), "without one of its blocks it has no value")
    middle, n = log(value), len(pool)
    reach = max(_reach(middle, without), _own_reach(pool, share, value))
    found = from_logs(Interval(middle, middle - reach, middle + reach, n))
    return found._replace(value=value)


def _reach(middle: float, without: Sequence[float]) -> float:
    """By how much the jackknife's interval of the logarithms goes beyond `middle`."""
    return (jackknifed(middle, [log(each) for each in without]).high or middle) - middle


def _own_reach(pool: Sequence[Sample], share: float, value: float) -> float:
    """The same by how far each block's own percentile is off that of all: sectioning.

    The jackknife's is too narrow for a percentile that few requests lie beyond. S. Asmussen and P. W. Glynn,
    Stochastic Simulation (2007), section III.5.
    """
    own = [quantile([each], share) for each in pool if each.size]
    known = [log(each / value) for each in own if 0 < each < inf]
    if len(known) < 2:
        return 0.0
    spread = sqrt(sum(each**2 for each in known) / (len(known) - 1) / len(known))
    return t_quantile(len(known)) * spread


def _too_few(size: float, share: float) -> str:
    percent = f"the {100 * share:g}th percentile"
    return f"{size:g} requests are too few: {percent} needs {LEAST[share]}" if size else NO_LATENCY


def percentile_ratio(
    sides: tuple[Sequence[Window], Sequence[Window]],
    wanted: Percentile,
    full: bool,
    taken: Taken,
) -> Quantity:
    """Candidate over baseline of each block's own percentile, paired; `full`: the queue of one of them grew.

    Where one block is far off the others it is not the ratio of the percentiles of all requests.
    """
    if full:
        return missing("ratio", GREW)
    pools = [[sample(window, wanted.kind) for window in side] for side in sides]
    size = min(sum(each.size for each in pool) for pool in pools)
    if size < LEAST[wanted.share]:
        return missing("ratio", _too_few(size, wanted.share))
    if not all(each.size for pool in pools for each in pool):
        return missing("ratio", NO_LATENCY)
    before, after = ([quantile([each], wanted.share) for each in pool] for pool in pools)
    if inf in (*before, *after):
        return missing("ratio", f"{UNBOUNDED}: in a block too many requests were not answered")
    return paired(before, after, "measured:clock", "", first=taken.first, stayed=taken.stays)
