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


def paired_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> Interval:
    """Geometric mean of candidate/baseline, paired by block, with the t interval of the log-ratios.

    Raises ValueError where the lengths differ or a value is not above 0.
    """
    before, after = np.asarray(baseline, dtype=float), np.asarray(candidate, dtype=float)
    if before.shape != after.shape or (before <= 0).any() or (after <= 0).any():
        raise ValueError("a paired ratio needs equally many values, all above 0")
    log = mean_interval(np.log(after / before).tolist())
    low_bound, high_bound = (
        None if bound is None else float(np.exp(bound)) for bound in (log.low, log.high)
    )
    return Interval(float(np.exp(log.value)), low_bound, high_bound, log.n, log.reason)


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
