"""Intervals against closed forms and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbench.stats.intervals import (
    Interval,
    geometric_mean,
    holm,
    mean_interval,
    p_difference,
    p_equivalence,
    paired_ratio,
    quotient,
    ratio_of_sums,
    stein_blocks,
    unpaired_ratio,
)
from greenbench.stats.resampling import in_logs

# Extra hours of sleep of Student's ten patients (Biometrika 6 (1908) 1), second drug minus first.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
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
    if there.bounds is None:
        assert other.bounds is None
    else:
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


@pytest.mark.parametrize("factor", [2, 100, 200, 1e6, 1e300])
def test_blocks_that_differ_by_any_factor_leave_numbers_that_a_record_holds(factor):
    for found in (
        paired_ratio([1, 1], [1, factor]),
        paired_ratio([factor, factor], [1, factor]),
        geometric_mean([1, factor]),
        in_logs(math.sqrt(factor), [1, factor]),
        unpaired_ratio([1, 1], [1, factor]),
    ):
        assert 0 < found.value <= factor
        if found.bounds is None:
            assert "differ so much" in found.reason
            assert factor >= 100
        else:
            low, high = found.bounds
            assert 1e-15 < low <= found.value <= high < 1e15


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


def ratios(logs):
    """Baseline and candidate whose log-ratios are `logs`."""
    return [1.0] * len(logs), [math.exp(value) for value in logs]


def test_the_paired_t_test_gives_students_published_p():
    # R's t.test(extra ~ group, sleep, paired): t = 4.0621, df = 9, p = 0.002833, CI 0.7001 2.4599
    assert p_difference(*ratios(SLEEP)) == pytest.approx(0.002833, abs=5e-7)
    found = paired_ratio(*ratios(SLEEP))
    assert np.log([found.low, found.high]) == pytest.approx([0.7001, 2.4599], abs=5e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_tost_is_at_5_percent_where_its_90_percent_interval_touches_the_margin(sign):
    t = 2.1318468  # t(0.95, 4)
    error = math.sqrt(2.5 / 5) * 0.001
    centre = sign * (math.log(1.02) - t * error)
    logs = [centre + 0.001 * step for step in (-2, -1, 0, 1, 2)]
    assert p_equivalence(*ratios(logs)) == pytest.approx(0.05, rel=1e-6)
    wider = [value + sign * 1e-5 for value in logs]
    assert p_equivalence(*ratios(wider)) > 0.05


def test_two_blocks_have_the_p_values_of_the_cauchy_distribution():
    # one degree of freedom: P(T > t) = 1/2 - atan(t)/pi, with t = mean / (half the difference)
    found = p_difference(*ratios([0.01, 0.03]))
    assert found == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    edge = (math.log1p(0.05) - 0.02) / 0.01
    tost = p_equivalence(*ratios([0.01, 0.03]), margin=0.05)
    assert tost == pytest.approx(0.5 - math.atan(edge) / math.pi)


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=20))
def test_no_p_value_depends_on_which_is_called_the_baseline(pairs):
    a, b = zip(*pairs, strict=True)
    assert p_difference(a, b) == pytest.approx(p_difference(b, a))
    assert p_equivalence(a, b) == pytest.approx(p_equivalence(b, a))
    assert 0 <= p_difference(a, b) <= 1


def test_blocks_that_all_agree_give_the_limits():
    same = [1.0, 2.0, 5.0]
    assert (p_difference(same, same), p_equivalence(same, same)) == (1, 0)
    less = [0.7 * value for value in same]
    assert (p_difference(same, less), p_equivalence(same, less)) == (0, 1)


def test_one_block_has_no_p_value():
    assert (p_difference([1], [2]), p_equivalence([1], [2])) == (None, None)


def test_holm_gives_the_textbook_values():
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") in R
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]  # 1.2 is no probability
    assert (holm([0.03]), holm([])) == ([0.03], [])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_and_bonferroni_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    for raw, found in zip(p_values, adjusted, strict=True):
        assert raw <= found <= min(1, raw * len(p_values)) + 1e-12
    assert all(
        adjusted[i] <= adjusted[j]
        for i, first in enumerate(p_values)
        for j, second in enumerate(p_values)
        if first < second
    )


def outliers(dice, blocks):
    """One block in ten is far off, to either side."""
    return dice.normal(0, 0.02, blocks) + dice.choice([-0.2, 0.0, 0.2], blocks, p=[0.05, 0.9, 0.05])


def heavy(dice, blocks):
    """Student's t of three degrees of freedom."""
    return 0.02 * dice.standard_t(3, blocks)


@pytest.mark.parametrize("noise", [outliers, heavy])
@pytest.mark.parametrize("blocks", [9, 10, 16])
def test_the_interval_covers_the_truth_of_wild_blocks_whether_nine_or_ten(noise, blocks):
    dice = np.random.default_rng(8)
    found = [paired_ratio(*ratios(noise(dice, blocks))) for _ in range(2000)]
    assert np.mean([one.low <= 1 <= one.high for one in found]) >= 0.94


def test_the_number_of_blocks_is_steins():
    # s = 0.01, t(0.975, 2) = 4.302653, asinh(0.02) = 0.0199987: 2.1515 squared is 4.63
    assert stein_blocks([-0.01, 0.0, 0.01], 0.02) == 5
    assert stein_blocks([0.0, 0.0, 0.0], 0.02) == 3
    with pytest.raises(ValueError, match="no spread"):
        stein_blocks([0.0], 0.02)


@pytest.mark.parametrize("spread", [0.03, 0.048])
def test_blocks_whose_spread_decides_their_number_still_cover_the_truth(spread):
    """At a target of 3 %, five blocks first and fifteen at most: as dev measures, under normal noise."""
    dice, covered, looking, campaigns = np.random.default_rng(9), 0, 0, 3000
    for _ in range(campaigns):
        logs = dice.normal(0, spread, 15)
        pairs = ratios(logs[: min(15, stein_blocks(logs[:5], 0.03))])
        found, plain = paired_ratio(*pairs, first=5), paired_ratio(*pairs)
        covered += found.low <= 1 <= found.high
        assert (p_difference(*pairs, first=5) < 0.05) == (not found.low <= 1 <= found.high)
        assert found.low <= plain.low <= plain.high <= found.high
        stopped = after_each_block(logs)
        looking += stopped.low <= 1 <= stopped.high
    assert covered / campaigns >= 0.945
    assert looking / campaigns < 0.945


def after_each_block(logs):
    """What a rule that looks after each block would say: it stops where the interval is narrow enough."""
    for blocks in range(5, len(logs) + 1):
        found = paired_ratio(*ratios(logs[:blocks]))
        if (found.high - found.low) / 2 <= 0.03 * found.value:
            break
    return found


def test_a_second_stage_noisier_than_the_first_widens_the_interval():
    logs = [0.0, 0.001, -0.001, 0.1, -0.1, 0.1]
    assert paired_ratio(*ratios(logs), first=3) == paired_ratio(*ratios(logs))
    assert p_equivalence(*ratios(logs), first=3) == p_equivalence(*ratios(logs)) > 0.05


@pytest.mark.parametrize("factor", [1.0, 0.7])
def test_blocks_that_all_agree_have_an_interval_without_width(factor):
    baseline = [float(value) for value in range(1, 13)]
    found = paired_ratio(baseline, [factor * each for each in baseline])
    assert found[:4] == pytest.approx((factor, factor, factor, 12))


@given(st.lists(st.sampled_from([1.0, 1.0 + 1e-13, 1.0 + 1e-9, 1.5]), min_size=10, max_size=14))
def test_nearly_equal_blocks_never_lose_their_interval(values):
    found = paired_ratio([1.0] * len(values), values)
    assert found.low <= found.value * (1 + 1e-12)
    assert found.value <= found.high * (1 + 1e-12)


def test_a_quotient_of_two_ratios_has_the_spread_of_both():
    """Where both are symmetric in logarithms the half-widths add in squares; skew is kept."""
    first = Interval(2.0, 2.0 / 1.2, 2.0 * 1.2, 50)
    second = Interval(3.0, 3.0 / 1.5, 3.0 * 1.5, 40)
    found = quotient(first, second)
    half = math.hypot(math.log(1.2), math.log(1.5))
    assert found.value == pytest.approx(1.5)
    assert (found.low, found.high) == pytest.approx((1.5 * math.exp(-half), 1.5 * math.exp(half)))
    assert found.n == 40
    skewed = quotient(first, Interval(3.0, 2.9, 9.0, 40))
    assert skewed.high / skewed.value > skewed.value / skewed.low
    with pytest.raises(ValueError, match="both intervals"):
        quotient(first, Interval(3.0, None, None, 1, "one"))
