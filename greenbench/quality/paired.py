"""Levels and paired changes of a task's main metric, with intervals that never claim certainty."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from greenbench.stats import CONFIDENCE, Interval, ratio_of_sums

Z = float(norm.ppf((1 + CONFIDENCE) / 2))


def level(values: Sequence[float], weights: Sequence[float]) -> Interval:
    """sum(values)/sum(weights) over items; Wilson's interval where items are right or wrong.

    Wilson stays within 0 to 1, and keeps its width where every item is right (Brown, Cai and
    DasGupta, 2001, Statistical Science 16:101).
    """
    if not _right_or_wrong(values, weights):
        return _spread(values, weights)
    test = binomtest(int(sum(values)), len(values))
    bounds = test.proportion_ci(CONFIDENCE, method="wilson")
    return Interval(test.statistic, float(bounds.low), float(bounds.high), len(values))


def change(
    baseline: Sequence[float], candidate: Sequence[float], weights: Sequence[float]
) -> Interval:
    """Candidate minus baseline on the same items, in the metric's own unit.

    Tango's score interval where items are right or wrong; else the delta-method interval of the
    difference of two ratios that share their weights. Raises ValueError where lengths differ.
    """
    differences = [after - before for before, after in zip(baseline, candidate, strict=True)]
    if not _right_or_wrong([*baseline, *candidate], weights):
        return _spread(differences, weights)
    return paired_proportions(differences.count(1), differences.count(-1), len(differences))


def paired_proportions(gained: int, lost: int, n: int) -> Interval:
    """Difference of two paired proportions from the items `gained` and `lost` among `n`.

    Tango's asymptotic score interval (1998, Statistics in Medicine 17:891). Without a single flip
    it still spans z²/(n+z²) to either side, because n items cannot show that none ever flips.
    """
    estimate = (gained - lost) / n

    def beyond(delta: float) -> float:
        """Squared distance from `estimate` less z² variances, given a true difference `delta`."""
        b = (2 * n - gained + lost) * delta - gained - lost
        root = b * b + 8 * n * lost * delta * (1 - delta)
        only_baseline = (sqrt(max(root, 0.0)) - b) / (4 * n)
        variance = n * (2 * only_baseline + delta * (1 - delta))
        return (gained - lost - n * delta) ** 2 - Z * Z * variance

    def bound(side: float) -> float:
        """Just beside the estimate, because without flips the variance at the estimate is 0."""
        return side if estimate == side else float(brentq(beyond, estimate + side * 1e-9, side))

    return Interval(estimate, bound(-1.0), bound(1.0), n)


def _right_or_wrong(values: Sequence[float], weights: Sequence[float]) -> bool:
    return set(values) <= {0, 1} and set(weights) == {1}


def _spread(values: Sequence[float], weights: Sequence[float]) -> Interval:
    found = ratio_of_sums(values, weights)
    if found.low == found.high and found.low is not None:
        reason = "every item has the same value, so the items do not show how much it varies"
        return Interval(found.value, None, None, found.n, reason)
    return found
