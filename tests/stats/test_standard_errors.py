"""What models measured in turn differ by: a level that shifts with every loading is in the interval."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from greenbench.stats.intervals import (
    p_difference,
    p_equivalence,
    paired_difference,
    paired_ratio,
)
from greenbench.stats.standard_errors import stay_error

STAYS = ([1, 1, 3, 3, 3, 3, 5, 5], [2, 2, 2, 2, 4, 4, 4, 4])
"""Eight blocks as B C B C B: a quarter, a half, a half, a half, a quarter."""


def lab(dice, reload=0.01, noise=0.002):
    """Log values per block: a level for each stay, and noise; the true ratio is 1."""
    sides = []
    for own in STAYS:
        level = {stay: dice.normal(0, reload) for stay in set(own)}
        sides.append(np.exp([level[stay] + dice.normal(0, noise) for stay in own]))
    return sides


def test_its_error_is_of_the_stays_by_hand():
    before, after = np.repeat([0.0, 0.03, -0.03], [2, 4, 2]), np.repeat([0.01, 0.03], [4, 4])
    # Around both means; in time the stays' middles lie -7, 0, 7 and -4, 4 blocks from theirs.
    drift = (-7 * 0.0 + 7 * -0.03) + (-4 * -0.01 + 4 * 0.01)
    spread = sqrt((2 * 0.03**2 + 2 * 0.01**2 - drift**2 / (2 * 49 + 2 * 16)) / 2)
    found = stay_error([before, after], STAYS)
    weights = 2 * 0.25**2 + 0.5**2 + 2 * 0.5**2
    assert (found.size, found.freedom) == (pytest.approx(spread * sqrt(weights)), 2)
    assert stay_error([before, after], ([1] * 8, [2] * 8)).size == inf
    ratio = paired_ratio(np.exp(before), np.exp(after), stays=STAYS)
    half = stats.t.ppf(0.975, 2) * found.size
    assert np.log(ratio.bounds) == pytest.approx([0.0125 - half, 0.0125 + half])


def test_a_shift_of_one_percent_at_each_loading_is_covered():
    """By the blocks alone two of three intervals hold the truth."""
    dice = np.random.default_rng(0)
    labs = [lab(dice) for _ in range(3000)]

    def covered(stays):
        found = [paired_ratio(*sides, stays=stays) for sides in labs]
        return np.mean([each.low <= 1 <= each.high for each in found])

    assert covered(None) < 0.75
    assert 0.945 < covered(STAYS) < 0.98
    found = np.mean([p_difference(*sides, stays=STAYS) < 0.05 for sides in labs])
    assert 0.02 < found < 0.055


def test_a_linear_drift_is_no_shift():
    """20 % along the run, in windows as they come: it is in no model's level."""
    drifted = [np.exp(0.2 * np.array(at) / 16) for at in (
        [0, 1, 6, 7, 8, 9, 14, 15], [2, 3, 4, 5, 10, 11, 12, 13],
    )]  # fmt: skip
    assert paired_ratio(*drifted, stays=STAYS).value == pytest.approx(1)
    assert stay_error([np.log(side) for side in drifted], STAYS).size == pytest.approx(0, abs=1e-9)


def test_without_a_shift_the_blocks_decide_nearly_as_before_and_drift_cancels():
    dice = np.random.default_rng(1)
    labs = [lab(dice, reload=0.0, noise=0.01) for _ in range(2000)]
    found = [paired_ratio(*sides, stays=STAYS) for sides in labs]
    assert np.mean([each.low <= 1 <= each.high for each in found]) > 0.95
    away = [np.exp(np.log(side) + shift) for side, shift in zip(labs[0], (0.0, 0.02), strict=True)]
    assert p_equivalence(*away, stays=STAYS) >= p_equivalence(*away)


def test_a_difference_is_in_doubt_as_a_ratio_is():
    """Savings are differences of both models' values: by their stays and by the blocks that decided."""
    before, after = np.repeat([5.0, 5.3, 4.7], [2, 4, 2]), np.repeat([3.1, 3.3], [4, 4])
    found = paired_difference(before, after, stays=STAYS)
    assert found.value == pytest.approx(-1.875)
    half = stats.t.ppf(0.975, 2) * stay_error([before, after], STAYS).size
    assert found.bounds == pytest.approx((-1.875 - half, -1.875 + half))
    values = np.array([0.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    first = stats.t.ppf(0.975, 1) * np.std([0.0, 2.0], ddof=1) / sqrt(8)
    assert paired_difference(np.zeros(8), values, 2).bounds == pytest.approx((1 - first, 1 + first))


def test_other_stays_shift_as_much():
    """As of answers, which the baseline makes in two stays and the candidate in one between them."""
    before, after = np.repeat([0.0, 0.03, -0.03], [2, 4, 2]), np.repeat([0.01, 0.03], [4, 4])
    own = stay_error([before, after], STAYS)
    found = stay_error([before, after], STAYS, ([1, 3], [2, 2]))
    assert found.size / own.size == pytest.approx(sqrt((0.5 + 1) / (2 * 0.25**2 + 0.5**2 + 0.5)))
    assert found.freedom == own.freedom


def test_too_few_stays_leave_no_interval_and_no_endless_one():
    """As where invalid blocks leave one stay of a model."""
    few = ([2, 2], [1, 3])
    found = paired_difference([1.0, 1.1], [0.8, 0.9], stays=few)
    assert (found.value, found.bounds) == (pytest.approx(-0.2), None)
    assert "too seldom" in found.reason
    assert paired_ratio([1.0, 1.1], [0.8, 0.9], stays=few).bounds is None
