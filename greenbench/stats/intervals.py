"""Means and ratios: their intervals and tests. The unit of analysis is the block (or the item)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import asinh, ceil, copysign, exp, hypot, inf, isfinite, log, log1p, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from greenbench.stats.standard_errors import Error, Logs, Stays, errors, stay_errors

CONFIDENCE = 0.95
MARGIN = 0.02  # design rule 6: an effect up to this is none
REACH = 1e9  # an interval that goes by this factor beyond its value says nothing
TOO_FAR = "no interval: the blocks differ so much that it would span all numbers"
FEW_STAYS = "no interval: the models were loaded too seldom to tell what each loading shifts"
SAME = 1e-12  # log-ratios closer than this differ by rounding, not by measurement


class Interval(NamedTuple):
    """A point estimate with its 95 % interval; the interval is null with a `reason`.

    A `reason` beside an interval says why it is not the usual one.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends; null where one of them is."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@cache
def t_quantile(n: int) -> float:
    """Student's t at the upper end of the interval of `n` observations."""
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))


def log_error(low: float, high: float, n: int) -> float:
    """The standard error of a logarithm whose mean's t interval, of `n` values, goes from `low` to `high`."""
    return log(high / low) / 2 / t_quantile(n)


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and Student t interval of independent observations. One observation has no interval."""
    data = np.asarray(values, dtype=float)
    mean = float(data.mean())
    if data.size < 2:
        return Interval(mean, None, None, data.size, "one observation has no interval")
    half = t_quantile(data.size) * data.std(ddof=1) / np.sqrt(data.size)
    return Interval(mean, mean - float(half), mean + float(half), data.size)


def two_stage(values: Logs, first: int | None = None, others: Sequence[Error] = ()) -> Interval:
    """Mean of `values`, whose number the spread of the `first` decided, and a 95 % interval that pays for it.

    Stein's interval, by the spread of the first stage alone, keeps 95 % exactly where the values are normal
    (C. Stein, Ann. Math. Stat. 16 (1945) 243); Student's t of all counts where it is wider, as later blocks
    may be noisier. Student's t alone would cover 93 % or less. `others` are errors that may be greater.
    """
    found = mean_interval(values.tolist())
    if found.low is None:
        return found
    half = max(e.size * t_quantile(e.freedom + 1) for e in [*errors(values, first), *others])
    if half == inf:
        return found._replace(low=None, high=None, reason=FEW_STAYS)
    return found._replace(low=found.value - half, high=found.value + half)


def stein_blocks(first: Sequence[float], half_width: float, others: Sequence[Error] = ()) -> int:
    """How many log-ratios give a 95 % interval of `half_width`, by the spread of the `first`; not fewer.

    C. Stein (1945). `half_width` is relative; `others` as in `two_stage`. Raises ValueError below two.
    """
    values = np.asarray(first, dtype=float)
    if values.size < 2:
        raise ValueError("one block has no spread")
    halves = [e.size * t_quantile(e.freedom + 1) for e in [*errors(values), *others]]
    wanted = values.size * (max(halves) / asinh(half_width)) ** 2
    return max(values.size, ceil(min(wanted, 1e6)))  # of an endless error as good as endless


def welch_freedom(first: Sequence[float] | Logs, second: Sequence[float] | Logs) -> float:
    """Degrees of freedom of Welch's interval of what two means differ by: infinite where nothing spreads.

    Raises ValueError without two of each.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("one observation has no spread")
    sides = [np.asarray(values, dtype=float) for values in (first, second)]
    parts = [float(data.var(ddof=1)) / data.size for data in sides]
    if not sum(parts):
        return inf
    return sum(parts) ** 2 / sum(
        p**2 / (data.size - 1) for p, data in zip(parts, sides, strict=True)
    )


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of `second` less that of `first`, of independent observations, with Welch's interval.

    B. L. Welch, Biometrika 34 (1947) 28. Without two of each there is no interval.
    """
    sides = [np.asarray(values, dtype=float) for values in (first, second)]
    value = float(sides[1].mean() - sides[0].mean())
    count = min(data.size for data in sides)
    if count < 2:
        return Interval(value, None, None, count, "one observation has no interval")
    parts = [float(data.var(ddof=1)) / data.size for data in sides]
    if not sum(parts):
        return Interval(value, value, value, count)
    half = float(stdtrit(welch_freedom(*sides), (1 + CONFIDENCE) / 2)) * sqrt(sum(parts))
    return Interval(value, value - half, value + half, count)


def from_logs(found: Interval) -> Interval:
    """The interval of what `found` is of the logarithms of: none where it spans all numbers.

    Two blocks that differ 200-fold have one of more than 30 decades.
    """
    value, low, high, n, reason = found
    if low is None or high is None:
        return Interval(exp(value), None, None, n, reason)
    if max(high - value, value - low) > log(REACH):
        return Interval(exp(value), None, None, n, TOO_FAR)
    return Interval(exp(value), exp(low), exp(high), n, reason)


def geometric_mean(values: Sequence[float], others: Sequence[Error] = ()) -> Interval:
    """Geometric mean with the t interval of the logarithms, never 0; `others` as in `two_stage`.

    Raises ValueError where a value is not above 0.
    """
    data = np.asarray(values, dtype=float)
    if (data <= 0).any():
        raise ValueError("a geometric mean needs values above 0")
    return from_logs(two_stage(np.log(data), None, others))


def paired_ratio(
    baseline: Sequence[float],
    candidate: Sequence[float],
    first: int | None = None,
    stays: Stays | None = None,
) -> Interval:
    """Geometric mean of candidate/baseline, paired by block, with Student's t interval of the logarithms.

    It is the ratio of the two geometric means; where the spread of the `first` blocks decided how many there
    are, the interval pays for it, as `two_stage` says. Whatever their number: of ten blocks with an outlier
    or heavy tails a bootstrap's interval covers the truth less often than it says (86 to 90 % for BCa), t's
    does not. Of models in turn, whose `stays` are given, it is no narrower than `stay_error` says. Raises
    ValueError where the lengths differ or a value is not above 0.
    """
    logs = _log_ratios(baseline, candidate)
    return from_logs(
        two_stage(logs, first, stay_errors(np.log([baseline, candidate]), stays, first))
    )


def paired_difference(
    baseline: Sequence[float],
    candidate: Sequence[float],
    first: int | None = None,
    stays: Stays | None = None,
) -> Interval:
    """Mean of candidate less baseline, paired by block; its interval pays as that of `paired_ratio` does."""
    sides = np.array([baseline, candidate], dtype=float)
    return two_stage(sides[1] - sides[0], first, stay_errors(sides, stays, first))


def unpaired_ratio(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Geometric mean of `second` over that of `first`, with Welch's 95 % interval of the logarithms.

    For blocks of two runs, which no common moment pairs. Welch, Biometrika 34 (1947) 28. Raises
    ValueError where a value is not above 0.
    """
    from scipy import stats  # as slow to import as a report on a sweep

    if min(*first, *second) <= 0:
        raise ValueError("a ratio needs values above 0")
    logs = np.log(second), np.log(first)
    value = float(logs[0].mean() - logs[1].mean())
    n = min(len(first), len(second))
    if n < 2:
        return from_logs(Interval(value, None, None, n, "one observation has no interval"))
    bounds = stats.ttest_ind(*logs, equal_var=False).confidence_interval(CONFIDENCE)
    ends = float(bounds.low), float(bounds.high)
    low, high = ends if all(map(isfinite, ends)) else (value, value)  # no spread at all
    return from_logs(Interval(value, low, high, n))


def quotient(first: Interval, second: Interval) -> Interval:
    """`second` over `first`, two independent ratios above 0, from their intervals alone.

    The method of variance estimates recovery, in logarithms, which keeps their skew: Zou and Donner,
    Statistics in Medicine 27 (2008) 1693. Raises ValueError where one has no interval above 0.
    """
    if not first.low or not second.low or not first.high or not second.high:
        raise ValueError("a quotient of ratios needs both intervals")
    value = log(second.value / first.value)
    below = hypot(log(second.value / second.low), log(first.high / first.value))
    above = hypot(log(second.high / second.value), log(first.value / first.low))
    return from_logs(Interval(value, value - below, value + above, min(first.n, second.n)))


def _log_ratios(baseline: Sequence[float], candidate: Sequence[float]) -> Logs:
    pairs = list(zip(baseline, candidate, strict=True))
    if not all(before > 0 and after > 0 for before, after in pairs):
        raise ValueError("a paired ratio needs values above 0")
    # A difference of logarithms, not a quotient's: swapping the two then negates it exactly.
    return np.array([np.log(after) - np.log(before) for before, after in pairs], dtype=float)


def p_difference(
    baseline: Sequence[float],
    candidate: Sequence[float],
    first: int | None = None,
    stays: Stays | None = None,
) -> float | None:
    """Two-sided paired t-test that the ratio is 1, on log-ratios. None below two blocks.

    Blocks that all agree give its limit: 1 at a ratio of 1, otherwise 0. The rest is as in `p_equivalence`.
    """
    logs = _log_ratios(baseline, candidate)
    if logs.size < 2:
        return None
    if np.ptp(logs) <= SAME:
        return float(abs(logs.mean()) <= SAME)
    away, of_stays = (
        -abs(float(logs.mean())),
        stay_errors(np.log([baseline, candidate]), stays, first),
    )
    return max(2 * _below(away, error) for error in [*errors(logs, first), *of_stays])


def p_equivalence(
    baseline: Sequence[float],
    candidate: Sequence[float],
    margin: float = MARGIN,
    first: int | None = None,
    stays: Stays | None = None,
) -> float | None:
    """Two one-sided paired t-tests (TOST) that the ratio is within `margin`. None below two blocks.

    Below 0.05 exactly where the 90 % t interval lies between 1/(1 + margin) and 1 + margin, the
    limits 0.9804 and 1.02. They are symmetric on the log scale, so that swapping the two changes
    nothing, and lie within +-2 %; log(0.98) on both sides would admit 1.0204. Schuirmann, J.
    Pharmacokinet. Biopharm. 15 (1987) 657. Blocks that all agree give the test's limit, 0 or 1.
    `first` and `stays` as in `paired_ratio`: the largest p-value. Raises ValueError as it does.
    """
    logs, edge = _log_ratios(baseline, candidate), log1p(margin)
    if logs.size < 2:
        return None
    if np.ptp(logs) <= SAME:
        return float(abs(logs.mean()) >= edge)
    inside = abs(float(logs.mean())) - edge  # the nearer edge's test is the one that decides
    of_stays = stay_errors(np.log([baseline, candidate]), stays, first)
    return max(_below(inside, error) for error in [*errors(logs, first), *of_stays])


def _below(distance: float, error: Error) -> float:
    """Chance that Student's t lies below `distance` in standard errors."""
    away = distance / error.size if error.size else copysign(inf, distance)
    return float(stdtr(error.freedom, away))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: below 0.05 is significant in the family.

    It bounds the chance of one false finding or more whatever the dependence. Holm, Scand. J.
    Statist. 6 (1979) 65.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


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
