"""Intervals against closed forms and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbench.stats import geometric_mean, mean_interval, paired_ratio, ratio_of_sums

positive = st.floats(0.01, 100)


def test_a_mean_has_the_textbook_t_interval():
    # t(0.975, 4) = 2.776445; mean 3, s = sqrt(2.5), n = 5
    found = mean_interval([1, 2, 3, 4, 5])
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert found[:4] == pytest.approx((3, 3 - half, 3 + half, 5), rel=1e-6)


def test_one_observation_has_no_interval_and_says_so():
    found = mean_interval([2.0])
    assert (found.value, found.low, found.high, found.n) == (2.0, None, None, 1)
    assert "no interval" in found.reason


def test_a_constant_factor_is_found_whatever_the_blocks_are():
    baseline = [1.0, 2.0, 5.0, 0.3]
    found = paired_ratio(baseline, [0.7 * value for value in baseline])
    assert found.value == pytest.approx(0.7)
    assert found.high - found.low == pytest.approx(0, abs=1e-12)


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=20))
def test_swapping_the_two_inverts_ratio_and_interval(pairs):
    there = paired_ratio([a for a, _ in pairs], [b for _, b in pairs])
    other = paired_ratio([b for _, b in pairs], [a for a, _ in pairs])
    assert other.value == pytest.approx(1 / there.value)
    assert other.low == pytest.approx(1 / there.high)


@given(st.lists(positive, min_size=2, max_size=20))
def test_levels_agree_with_their_ratio(values):
    other = [value**1.5 for value in values]
    ratio = geometric_mean(other).value / geometric_mean(values).value
    assert paired_ratio(values, other).value == pytest.approx(ratio)


def test_a_ratio_refuses_what_has_no_logarithm():
    with pytest.raises(ValueError, match="above 0"):
        paired_ratio([1, 0], [1, 1])
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1, 2], [1])


def test_an_accuracy_is_the_mean_with_its_t_interval():
    values = [1, 0, 1, 1, 0, 1]
    assert ratio_of_sums(values, [1] * 6)[:4] == pytest.approx(mean_interval(values)[:4])


def test_the_ratio_interval_covers_the_truth_in_95_percent_of_campaigns():
    dice = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        drift = dice.normal(0, 0.3, size=8)  # shared by a block's pair, so it must cancel
        baseline = np.exp(drift + dice.normal(0, 0.05, 8))
        candidate = 0.8 * np.exp(drift + dice.normal(0, 0.05, 8))
        found = paired_ratio(baseline, candidate)
        covered += found.low <= 0.8 <= found.high
    assert 0.935 <= covered / 2000 <= 0.965
