"""Percentiles of pooled observations, shares, and how long a series remembers itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from greenbench.stats.intervals import CONFIDENCE, Interval, from_logs, t_quantile

Z = float(ndtri((1 + CONFIDENCE) / 2))
WINDOWING = 5
"""Correlation times after which a series' correlation is taken for noise."""


class Sample(NamedTuple):
    """Observations that one block adds to a pool."""

    values: Sequence[float]
    """Ascending; each stands for `weight` of them."""
    weight: float
    endless: int = 0
    """How many more there are, above every value."""

    @property
    def size(self) -> float:
        """Observations in all."""
        return self.weight * len(self.values) + self.endless


def quantile(pool: Sequence[Sample], share: float) -> float:
    """The value below which `share` of the pooled observations lie; infinite among the endless ones.

    Interpolated as numpy does by default, between the observations as they were before they were
    thinned. Raises ValueError of nothing.
    """
    values = np.concatenate([np.asarray(each.values, dtype=float) for each in pool])
    weights = np.concatenate([np.full(len(each.values), each.weight) for each in pool])
    size = sum(each.size for each in pool)
    if not size:
        raise ValueError("nothing has no quantile")
    order = np.argsort(values, kind="stable")
    values, upto = values[order], np.cumsum(weights[order])
    at = (size - 1) * share  # from 0: the first observation stands at 0, the last at size - 1
    if not values.size or at > upto[-1] - 1 + 1e-9:
        return inf
    middles = upto - (weights[order] + 1) / 2  # where a value stands that stands for several
    return float(np.interp(at, middles, values))


def jackknifed(whole: float, without: Sequence[float]) -> Interval:
    """`whole` with the interval of the delete-one-block jackknife, on Student's t.

    `without` are the same number of all blocks but one, in turn. R. G. Miller, Biometrika 61 (1974) 1.
    """
    n = len(without)
    if n < 2:
        return Interval(whole, None, None, n, "one observation has no interval")
    spread = np.asarray(without, dtype=float)
    half = t_quantile(n) * sqrt((n - 1) / n * float(((spread - spread.mean()) ** 2).sum()))
    return Interval(whole, whole - half, whole + half, n)


def ratio_of_sums(totals: Sequence[float], counts: Sequence[float]) -> Interval:
    """All of `totals` over all of `counts`, of blocks; jackknifed, in logarithms where all are above 0.

    Raises ZeroDivisionError where all counts are 0.
    """
    total, count = sum(totals), sum(counts)
    whole, rest = total / count, [count - each for each in counts]
    if len(totals) > 1 and min(rest) <= 0:
        return Interval(whole, None, None, len(totals), "all of it is of one block: no interval")
    without = [(total - each) / left for each, left in zip(totals, rest, strict=True) if left]
    if len(totals) < 2 or min(whole, *without) <= 0:
        return jackknifed(whole, without or [whole])
    return in_logs(whole, without)


def in_logs(whole: float, without: Sequence[float]) -> Interval:
    """As `jackknifed`, of what is above 0 and spreads by factors."""
    return from_logs(jackknifed(log(whole), [log(each) for each in without]))._replace(value=whole)


def share_of_blocks(counts: Sequence[int], of: Sequence[int]) -> Interval:
    """All of `counts` of all of `of` as a share: the wider of two intervals at either end.

    Of blocks that differ by more than chance Wilson's would be too narrow, and of blocks that all have the
    same share the jackknife's. Raises ZeroDivisionError of nothing.
    """
    alone, blocks = share_interval(sum(counts), sum(of)), ratio_of_sums(counts, of)
    low = min(end for end in (alone.low, blocks.low) if end is not None)
    high = max(end for end in (alone.high, blocks.high) if end is not None)
    return Interval(alone.value, max(low, 0.0), min(high, 1.0), sum(of))


def share_interval(count: int, of: int) -> Interval:
    """`count` of `of` as a share, with Wilson's 95 % interval. Raises ZeroDivisionError of nothing.

    E. B. Wilson, JASA 22 (1927) 209.
    """
    seen = count / of
    middle = (seen + Z**2 / (2 * of)) / (1 + Z**2 / of)
    half = Z / (1 + Z**2 / of) * sqrt(seen * (1 - seen) / of + (Z / (2 * of)) ** 2)
    return Interval(seen, max(middle - half, 0.0), min(middle + half, 1.0), of)


def correlation_time(series: Sequence[Sequence[float]]) -> float | None:
    """Steps for which several stretches of one series remember themselves; null where it never changes.

    The integral of the autocorrelation, half a step for lag 0: that of exp(-t/T) is T. Covariances are
    pooled over the stretches around their common mean, and summed up to the first that is not above 0,
    or whose lag is `WINDOWING` times the sum so far. A. D. Sokal, in Functional Integration (1997) 131,
    section 3; C. J. Geyer, Statistical Science 7 (1992) 473, section 3.3.
    """
    stretches = [np.asarray(each, dtype=float) for each in series if len(each)]
    if not stretches:
        return None
    mean = np.concatenate(stretches).mean()
    apart = [each - mean for each in stretches]
    variance = float(np.concatenate(apart).var())
    if not variance:
        return None
    total = 0.5
    for lag in range(1, max(map(len, apart))):
        products = [each[lag:] * each[:-lag] for each in apart if len(each) > lag]
        together = float(np.concatenate(products).mean()) / variance
        if together <= 0 or lag >= WINDOWING * total:
            break
        total += together
    return total
