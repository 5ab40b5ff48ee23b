"""Levels and paired changes of a task's main metric, with intervals that never claim certainty."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache
from math import inf, sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr, ndtri, stdtr

from greenbench.stats.documents import Worth, Z, alone, by_document, shared
from greenbench.stats.intervals import Interval, ratio_of_sums, t_quantile

RESAMPLES, SEED = 4000, 0
EXACT = 1e-12  # of a value: less apart than that is rounding
HALVINGS = 48  # of an interval within -1 to 1: exact to 1e-14
Array = npt.NDArray[np.float64]


def level(
    values: Sequence[float], weights: Sequence[float], documents: Sequence[Hashable] = ()
) -> Interval:
    """sum(values)/sum(weights) over items; Wilson's interval where items are right or wrong.

    Wilson stays within 0 to 1, and keeps its width where every item is right (Brown, Cai and
    DasGupta, 2001, Statistical Science 16:101). Items that share a document are worth fewer:
    see `alone`. Of other values it is the delta method, by document where items share them.
    """
    if not _right_or_wrong(values, weights):
        found = by_document(documents, values, weights) if shared(documents) else (values, weights)
        return _spread(*found)._replace(n=len(values))
    worth = alone(values, documents)
    n = len(values) / worth.each
    return _wilson(sum(values) / worth.each, n, worth.reach)._replace(n=len(values))


@cache
def _wilson(right: float, n: float, reach: float) -> Interval:
    share = right / n
    middle = (2 * right + reach**2) / (2 * (n + reach**2))
    half = reach * sqrt(4 * right * (1 - share) + reach**2) / (2 * (n + reach**2))
    low = middle - half if right else 0.0
    return Interval(share, low, middle + half if right < n else 1.0, 0)


def change(
    baseline: Sequence[float],
    candidate: Sequence[float],
    weights: Sequence[float],
    documents: Sequence[Hashable] = (),
) -> Interval:
    """Candidate minus baseline on the same items, in the metric's own unit.

    Tango's score interval where items are right or wrong, of as many as those that share documents
    are worth; else the delta-method interval of the difference of two ratios that share their
    weights, or a bootstrap over documents. Raises ValueError where lengths differ.
    """
    differences = [after - before for before, after in zip(baseline, candidate, strict=True)]
    if _right_or_wrong([*baseline, *candidate], weights):
        gained, lost, n, worth = _flips(differences, documents)
        return paired_proportions(gained, lost, n, worth.reach)._replace(n=len(differences))
    if shared(documents):
        found = _spread(*by_document(documents, differences, weights))
        drawn = bootstrap(baseline, candidate, weights, documents)
        low, high = drawn or (found.low, found.high)
        return found._replace(low=low, high=high, n=len(differences))
    return _spread(differences, weights)


def _flips(
    differences: Sequence[float] | Array, documents: Sequence[Hashable]
) -> tuple[float, float, float, Worth]:
    """Gained, lost and all items, as many as they are worth."""
    found, worth = np.asarray(differences), alone(differences, documents)
    gained, lost = float((found == 1).sum()), float((found == -1).sum())
    return gained / worth.each, lost / worth.each, len(found) / worth.each, worth


@cache
def paired_proportions(gained: float, lost: float, n: float, reach: float = Z) -> Interval:
    """Difference of two paired proportions from the items `gained` and `lost` among `n`.

    Tango's asymptotic score interval (1998, Statistics in Medicine 17:891). Without a single flip
    it still spans z²/(n+z²) to either side, because n items cannot show that none ever flips.
    """
    estimate = (gained - lost) / n

    def beyond(delta: float) -> float:
        """Squared distance from `estimate` less z² variances, given a true difference `delta`."""
        return (gained - lost - n * delta) ** 2 - reach**2 * _variance(gained, lost, n, delta)

    def bound(side: float) -> float:
        """Where `beyond` changes its sign towards `side`, by halving.

        Importing scipy.optimize for it would take a report longer than reading its records.
        """
        near, far = estimate, side
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            near, far = (near, middle) if beyond(middle) > 0 else (middle, far)
        return far

    return Interval(estimate, bound(-1.0), bound(1.0), round(n))


def _variance(gained: float, lost: float, n: float, delta: float) -> float:
    """Variance of ``gained - lost`` if the true difference is `delta` (Tango, 1998)."""
    b = (2 * n - gained + lost) * delta - gained - lost
    root = b * b + 8 * n * lost * delta * (1 - delta)
    only_baseline = (sqrt(max(root, 0.0)) - b) / (4 * n)
    return n * (2 * only_baseline + delta * (1 - delta))


def p_difference(
    baseline: Sequence[float],
    candidate: Sequence[float],
    weights: Sequence[float],
    documents: Sequence[Hashable] = (),
) -> float | None:
    """Two-sided p-value of no change; None where the items do not show how much it varies.

    McNemar's exact test where items are right or wrong (1947, Psychometrika 12:153), and Tango's
    score test where those share documents; else a t-test of the linearized differences, by document
    where items share them.
    """
    differences = np.subtract(candidate, baseline)
    if not _right_or_wrong([*baseline, *candidate], weights):
        return _t_test(*_observed(differences, weights, documents), 0.0, "two-sided")
    gained, lost, _, worth = _flips(differences, documents)
    if worth.freedom == inf:
        return min(1.0, 2 * float(bdtr(min(gained, lost), int(gained + lost), 0.5)))
    if not gained + lost:
        return 1.0
    return 2 * float(stdtr(worth.freedom, -abs(gained - lost) / sqrt(gained + lost)))


def p_equivalence(
    baseline: Sequence[float],
    candidate: Sequence[float],
    weights: Sequence[float],
    margin: float,
    documents: Sequence[Hashable] = (),
) -> float | None:
    """TOST: the p-value of a true change of `margin` or more, in the metric's own unit.

    Below 0.05 the two are equivalent within the margin. Tango's score test where items are right
    or wrong, of as many as those that share documents are worth; else t-tests of the linearized
    differences, by document where items share them.
    """
    sides = [
        p_noninferiority(*pair, weights, margin, documents)
        for pair in ((baseline, candidate), (candidate, baseline))
    ]
    return None if None in sides else max(p for p in sides if p is not None)


def p_noninferiority(
    baseline: Sequence[float],
    candidate: Sequence[float],
    weights: Sequence[float],
    margin: float,
    documents: Sequence[Hashable] = (),
) -> float | None:
    """One-sided p-value of a true loss of `margin` or more, in the metric's own unit; more is better.

    Below 0.05 the candidate loses less than the margin: one side of `p_equivalence`, with its tests.
    None where the items do not show how much they vary.
    """
    differences = np.subtract(candidate, baseline)
    if not _right_or_wrong([*baseline, *candidate], weights):
        return _t_test(*_observed(differences, weights, documents), -margin, "greater")
    if margin >= 1:  # more than all cannot be lost
        return 0.0
    gained, lost, n, worth = _flips(differences, documents)
    variance = _variance(gained, lost, n, -margin)
    return float(stdtr(worth.freedom, -(gained - lost + n * margin) / sqrt(variance)))


def items_to_tell(
    differences: Array,
    margin: float,
    alpha: float,
    power: float,
    documents: Sequence[Hashable] = (),
) -> float:
    """So many items would exclude a loss of `margin` with that power, if the change is what was seen, but no
    gain, and they share documents as these do; one flip is assumed. Infinite where none would."""
    change = min(float(differences.mean()), 0.0)
    spread = max(float((differences**2).mean()), 1 / len(differences)) - change**2
    distance = margin + change
    reach = float(ndtri(1 - alpha) + ndtri(power))
    each = alone(differences, documents).each
    return each * reach**2 * spread / distance**2 if distance else inf


def _observed(
    differences: Array, weights: Sequence[float], documents: Sequence[Hashable]
) -> tuple[Array, Array]:
    """Values and weights of what is by itself: documents, or items."""
    if not shared(documents):
        return differences, np.asarray(weights)
    sums, sizes = by_document(documents, differences, weights)
    return np.asarray(sums), np.asarray(sizes)


def _t_test(differences: Array, weights: Array, against: float, side: str) -> float | None:
    shifted, n = differences - against * weights, len(differences)
    residual = shifted - shifted.sum() / weights.sum() * weights
    spread = residual.std(ddof=1) if n > 1 else 0.0
    if spread <= EXACT * np.abs(shifted).max():
        return None
    t = shifted.mean() / (spread / sqrt(n))
    tails = {
        "greater": stdtr(n - 1, -t),
        "less": stdtr(n - 1, t),
        "two-sided": 2 * stdtr(n - 1, -abs(t)),
    }
    return float(tails[side])


def bootstrap(
    baseline: Sequence[float],
    candidate: Sequence[float],
    weights: Sequence[float],
    clusters: Sequence[Hashable],
) -> tuple[float, float] | None:
    """The change's 95 % interval from resampled clusters: items that share a document go together.

    Percentiles, widened for the number of clusters (Hesterberg, arXiv 1411.5279). None where there
    are fewer than two clusters or the items do not vary.
    """
    sums, sizes = by_document(clusters, np.subtract(candidate, baseline), weights)
    change, weight, count = np.asarray(sums), np.asarray(sizes), len(sums)
    if count < 2 or np.ptp(change / weight) == 0:
        return None
    rng = np.random.default_rng(SEED)
    picked = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    found = (picked @ change) / (picked @ weight)
    tail = widened_tail(count)
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def widened_tail(n: int) -> float:
    """Tail at which a bootstrap percentile of `n` normal values is their 95 % t bound.

    A bootstrap's spread is sqrt((n - 1) / n) of the standard error, and it uses z where t belongs;
    Hesterberg's expanded percentiles, arXiv 1411.5279.
    """
    return float(ndtr(-sqrt(n / (n - 1)) * t_quantile(n)))


def _right_or_wrong(values: Sequence[float], weights: Sequence[float]) -> bool:
    return set(values) <= {0, 1} and set(weights) == {1}


def _spread(values: Sequence[float], weights: Sequence[float]) -> Interval:
    found = ratio_of_sums(values, weights)
    if found.low == found.high and found.low is not None:
        reason = "every item has the same value, so the items do not show how much it varies"
        return Interval(found.value, None, None, found.n, reason)
    return found
