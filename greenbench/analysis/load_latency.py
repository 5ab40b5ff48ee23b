"""Percentiles of the latencies of all requests at one load, and their ratios."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, sqrt
from typing import Final, NamedTuple

import numpy as np

from greenbench.analysis.blocks import Taken, as_quantity
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
from greenbench.stats.intervals import FEW_STAYS, Interval, from_logs, t_quantile
from greenbench.stats.resampling import Sample, jackknifed, quantile
from greenbench.stats.standard_errors import Logs

NO_ANSWER = "in a block no request was answered"
NO_LATENCY = "in a block no request has it"
NO_WAIT = "in a block it is 0"
ONE = "one observation has no interval"
LEAST: Final = {0.5: 1, 0.9: 10, 0.99: 100}
"""Requests that a percentile needs, pooled over blocks."""
TAIL: Final = 25
"""Requests of a block beyond a percentile: where there are fewer, its own is off that of all by more than its
blocks differ."""


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
        return Interval(value, None, None, len(pool), ONE)
    if len(without) < len(pool) or inf in without or not all(without):
        return Interval(value, None, None, len(pool), "without one of its blocks it has no value")
    own = [quantile([each], share) for each in pool if each.size]
    known = [log(each) for each in own if 0 < each < inf]
    return _wider(log(value), [log(each) for each in without], known)._replace(value=value)


def _wider(
    whole: float, without: Sequence[float], own: Sequence[float], least: float = 0.0
) -> Interval:
    """Of what `whole` is the logarithm of: the widest of two intervals, and of `least` to either side.

    One is the jackknife's, of all blocks but one in turn. It is too narrow for a percentile that few requests
    lie beyond; the other is of how far each block's `own` is off that of all, which is called sectioning.
    S. Asmussen and P. W. Glynn, Stochastic Simulation (2007), section III.5.
    """
    jackknife = (jackknifed(whole, without).high or whole) - whole
    reach = max(jackknife, _sections(whole, own), least)
    return from_logs(Interval(whole, whole - reach, whole + reach, len(without)))


def _sections(whole: float, own: Sequence[float]) -> float:
    if len(own) < 2:
        return 0.0
    spread = sqrt(sum((each - whole) ** 2 for each in own) / (len(own) - 1) / len(own))
    return t_quantile(len(own)) * spread


def _too_few(size: float, share: float) -> str:
    percent = f"the {100 * share:g}th percentile"
    return f"{size:g} requests are too few: {percent} needs {LEAST[share]}" if size else NO_LATENCY


def percentile_ratio(
    sides: tuple[Sequence[Window], Sequence[Window]],
    wanted: Percentile,
    full: bool,
    taken: Taken,
) -> Quantity:
    """Candidate over baseline of the percentiles of all requests; `full`: the queue of one of them grew.

    Not the mean of each block's own ratio: of few requests a block's percentile is too low, and more so for
    the model whose waits are longer and last. Its interval pays for how the blocks were `taken`.
    """
    if full:
        return missing("ratio", GREW)
    share = wanted.share
    pools = [[sample(window, wanted.kind) for window in side] for side in sides]
    size = min(sum(each.size for each in pool) for pool in pools)
    if size < LEAST[share]:
        return missing("ratio", _too_few(size, share))
    if not all(each.size for pool in pools for each in pool):
        return missing("ratio", NO_LATENCY)
    own = np.array([[quantile([each], share) for each in pool] for pool in pools])
    if inf in own:
        return missing("ratio", f"{UNBOUNDED}: in a block too many requests were not answered")
    if own.min() <= 0:
        return missing("ratio", NO_WAIT)
    return as_quantity(_ratio(pools, share, np.log(own), taken), "ratio", "measured:clock")


def _ratio(pools: Sequence[Sequence[Sample]], share: float, own: Logs, taken: Taken) -> Interval:
    """`own` are the logarithms of each block's percentile."""
    blocks = range(len(pools[0]))
    whole = _apart(pools, share)
    if len(blocks) < 2:
        return Interval(exp(whole), None, None, 1, ONE)
    least = taken.least(own)
    if least == inf:
        return Interval(exp(whole), None, None, len(blocks), FEW_STAYS)
    apart = (own[1] - own[0]).tolist()
    rests = [[[*pool[:out], *pool[out + 1 :]] for pool in pools] for out in blocks]
    beyond = (1 - share) * min(sum(each.size for each in pool) for pool in pools)
    few = beyond < TAIL * len(blocks)
    without = [_apart(rest, share) for rest in rests] if few else [whole] * len(blocks)
    return _wider(whole, without, apart, least)


def _apart(pools: Sequence[Sequence[Sample]], share: float) -> float:
    """Logarithm of candidate over baseline."""
    before, after = (quantile(pool, share) for pool in pools)
    return log(after) - log(before)
