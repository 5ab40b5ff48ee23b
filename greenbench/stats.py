"""Ratios and means with their intervals. The unit of analysis is the block (or the item)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A point estimate with its 95 % interval; the interval is null with a `reason`."""

    value: float
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and Student t interval of independent observations. One observation has no interval."""
    data = np.asarray(values, dtype=float)
    if data.size < 2:
        return Interval(
            float(data.mean()), None, None, data.size, "one observation has no interval"
        )
    half = stats.t.ppf((1 + CONFIDENCE) / 2, data.size - 1) * stats.sem(data)
    mean = float(data.mean())
    return Interval(mean, mean - float(half), mean + float(half), data.size)


def geometric_mean(values: Sequence[float]) -> Interval:
    """Geometric mean with the t interval of the logarithms, which never reaches 0.

    Raises ValueError where a value is not above 0.
    """
    data = np.asarray(values, dtype=float)
    if (data <= 0).any():
        raise ValueError("a geometric mean needs values above 0")
    value, low, high, n, reason = mean_interval(np.log(data).tolist())
    bounds = [None if bound is None else float(np.exp(bound)) for bound in (low, high)]
    return Interval(float(np.exp(value)), bounds[0], bounds[1], n, reason)


def paired_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> Interval:
    """Geometric mean of candidate/baseline, paired by block, with the t interval of the log-ratios.

    It is the ratio of the two geometric means. Raises ValueError where the lengths differ or a
    value is not above 0.
    """
    pairs = list(zip(baseline, candidate, strict=True))
    if not all(before > 0 and after > 0 for before, after in pairs):
        raise ValueError("a paired ratio needs values above 0")
    return geometric_mean([after / before for before, after in pairs])


def ratio_of_sums(values: Sequence[float], weights: Sequence[float]) -> Interval:
    """sum(values)/sum(weights) with the linearized (delta-method) interval over items.

    For 0/1 values and weights of 1 this is the accuracy with its normal-theory interval; for bits
    and bytes it is bits per byte. Cochran, Sampling Techniques (1977), section 6.3.
    """
    value, weight = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    ratio = float(value.sum() / weight.sum())
    spread = mean_interval(((value - ratio * weight) / weight.mean()).tolist())
    if spread.low is None or spread.high is None:
        return Interval(ratio, None, None, spread.n, spread.reason)
    return Interval(ratio, ratio + spread.low, ratio + spread.high, spread.n)
