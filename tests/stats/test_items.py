"""Intervals of levels and changes against published values and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference
from scipy.optimize import minimize_scalar

from greenbench.stats import items

Z2 = 3.841458820694124


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [  # Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850, method of Tango
        (1, 7, 21, -0.517, -0.026),
        (6, 16, 161, -0.124, -0.0054),
    ],
)
def test_a_paired_change_has_the_published_interval(gained, lost, n, low, high):
    found = items.paired_proportions(gained, lost, n)
    assert found.value == pytest.approx((gained - lost) / n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize("n", [1, 30, 1000])
def test_without_flips_the_interval_is_z2_over_n_plus_z2(n):
    found = items.paired_proportions(0, 0, n)
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-Z2 / (n + Z2), Z2 / (n + Z2)), abs=1e-8)


def test_the_bounds_solve_the_score_equation_with_a_nuisance_found_by_search():
    gained, lost, n = 9, 4, 40
    found = items.paired_proportions(gained, lost, n)
    for delta in (found.low, found.high):

        def surprise(p, delta=delta):  # of a multinomial whose proportions differ by delta
            rest = 1 - 2 * p - delta
            return -(
                gained * math.log(p + delta)
                + lost * math.log(p)
                + (n - gained - lost) * math.log(rest)
            )

        bounds = (max(0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9)
        p = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        variance = n * (2 * p + delta - delta**2)
        assert (gained - lost - n * delta) ** 2 / variance == pytest.approx(Z2, rel=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_a_paired_interval_is_sound(gained, lost, same):
    n = gained + lost + same
    if n == 0:
        return
    found = items.paired_proportions(gained, lost, n)
    mirrored = items.paired_proportions(lost, gained, n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (7, 20), (20, 20)])
def test_a_level_of_right_and_wrong_items_is_wilsons(right, n):
    found = items.level([1.0] * right + [0.0] * (n - right), [1.0] * n)
    p, centre = right / n, (right + Z2 / 2) / (n + Z2)
    half = math.sqrt(Z2) / (n + Z2) * math.sqrt(n * p * (1 - p) + Z2 / 4)
    assert found.value == p
    assert found.n == n
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_bits_per_byte_change_is_the_delta_method_on_differences():
    bits, fewer, size = [80.0, 150.0, 95.0], [84.0, 160.0, 96.0], [100.0, 200.0, 100.0]
    found = items.change(bits, fewer, size)
    assert found.value == pytest.approx(15 / 400)
    assert items.level(bits, size).value == pytest.approx(325 / 400)
    residual = (np.array([4.0, 10.0, 1.0]) - 15 / 400 * np.array(size)) / (400 / 3)
    half = 4.302652729911275 * residual.std(ddof=1) / math.sqrt(3)  # t quantile, 2 degrees
    assert (found.low, found.high) == pytest.approx((15 / 400 - half, 15 / 400 + half))


def test_identical_models_get_no_interval_of_zero_width():
    found = items.change([80.0, 150.0], [80.0, 150.0], [100.0, 200.0])
    assert (found.value, found.low, found.high) == (0, None, None)
    assert "same value" in found.reason


def test_unequal_items_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        items.change([1.0, 0.0], [1.0], [1.0, 1.0])


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (2, 9), (10, 10), (15, 5)])
def test_mcnemar_is_the_exact_binomial_of_the_flips(gained, lost):
    before = [0.0] * gained + [1.0] * lost + [1.0] * 30
    after = [1.0] * gained + [0.0] * lost + [1.0] * 30
    flips = gained + lost
    tail = sum(math.comb(flips, k) for k in range(min(gained, lost) + 1)) / 2**flips
    found = items.p_difference(before, after, [1.0] * len(before))
    assert found == pytest.approx(min(1.0, 2 * tail))


def test_equivalence_within_a_margin_agrees_with_the_score_interval():
    """TOST at 5 % is the 90 % interval inside the margin: at its bound the p-value is 5 %."""
    gained, lost, n = 6, 8, 400
    before = [0.0] * gained + [1.0] * lost + [1.0] * (n - gained - lost)
    after = [1.0] * gained + [0.0] * lost + [1.0] * (n - gained - lost)
    p_values = [items.p_equivalence(before, after, [1.0] * n, m) for m in (0.005, 0.02, 0.05)]
    assert p_values == sorted(p_values, reverse=True)
    assert p_values[0] > 0.05 > p_values[-1]
    # The 95 % interval is two tests at 2.5 %: a margin at its farther bound has p = 2.5 %.
    far = max(map(abs, items.paired_proportions(gained, lost, n)[1:3]))
    assert items.p_equivalence(before, after, [1.0] * n, far) == pytest.approx(0.025, abs=1e-6)


def test_bits_are_tested_by_t_on_linearized_differences():
    bits, fewer, size = [80.0, 150.0, 95.0], [84.0, 160.0, 96.0], [100.0, 200.0, 100.0]
    interval = items.change(bits, fewer, size)
    at_bound = items.p_equivalence(bits, fewer, size, interval.high)
    assert at_bound == pytest.approx(0.025, abs=1e-9)
    assert 0.05 < items.p_difference(bits, fewer, size) < 0.2  # the interval just holds 0
    assert items.p_difference(bits, bits, size) is None


def test_a_bootstrap_of_single_items_is_near_the_closed_interval():
    rng = np.random.default_rng(1)
    size = rng.integers(100, 300, 200).astype(float)
    before = size * rng.normal(1.0, 0.1, 200)
    after = before + size * rng.normal(0.02, 0.05, 200)
    low, high = items.bootstrap(before, after, size, range(200))
    closed = items.change(before, after, size)
    assert (low, high) == pytest.approx((closed.low, closed.high), abs=0.0015)


@pytest.mark.parametrize("n", [10, 12, 50])
def test_a_widened_tail_gives_normal_values_their_t_interval(n):
    spread = math.sqrt((n - 1) / n)
    z = reference.norm.ppf(items.widened_tail(n))
    assert z * spread == pytest.approx(-reference.t.ppf(0.975, n - 1))


def test_no_one_loses_more_than_all():
    assert items.p_noninferiority([1, 1, 0], [1, 0, 0], [1, 1, 1], 1.0) < 0.05
    assert items.p_noninferiority([1, 1, 0], [1, 1, 0], [1, 1, 1], 1.0) == 0.0


def test_items_that_share_a_document_widen_the_interval():
    """Ten copies of each item say no more than one: the interval must not shrink by sqrt(10)."""
    rng = np.random.default_rng(2)
    change = rng.normal(0.0, 1.0, 40)
    alone = items.bootstrap([0.0] * 40, change, [1.0] * 40, range(40))
    tenfold = np.repeat(change, 10)
    copies = items.bootstrap([0.0] * 400, tenfold, [1.0] * 400, np.repeat(range(40), 10))
    assert copies == pytest.approx(alone, abs=1e-9)
    low, high = items.bootstrap([0.0] * 400, tenfold, [1.0] * 400, range(400))
    assert high - low < 0.4 * (alone[1] - alone[0])


def test_a_bootstrap_of_one_cluster_or_of_no_spread_does_not_exist():
    assert items.bootstrap([0.0, 0.0], [1.0, 0.0], [1.0, 1.0], ["a", "a"]) is None
    assert items.bootstrap([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], ["a", "b"]) is None


def test_copies_of_items_show_no_more_than_the_items_do():
    """Four answers to each of 40 passages, all alike: n is still 160, the doubt that of 40."""
    rng = np.random.default_rng(3)
    before = rng.integers(0, 2, 40).astype(float)
    after = np.where(rng.random(40) < 0.3, 0.0, before)
    passages = np.repeat(range(40), 4)
    copied = [np.repeat(column, 4) for column in (before, after)]
    ones = [1.0] * 160
    together = items.change(*copied, ones, passages)
    gained, lost = int((after > before).sum()), int((after < before).sum())
    forty = items.paired_proportions(gained, lost, 40, reference.t.ppf(0.975, 39))
    assert (together.low, together.high) == pytest.approx((forty.low, forty.high), abs=1e-9)
    assert together.n == 160
    apart = items.change(*copied, ones, range(160))
    assert apart == items.change(*copied, ones)
    assert apart.high - apart.low < 0.75 * (together.high - together.low)
    assert items.p_difference(*copied, ones, passages) > items.p_difference(*copied, ones)
    margins = [items.p_equivalence(*copied, ones, 0.3, shared) for shared in (passages, ())]
    assert margins[0] > margins[1]
    level = items.level(copied[0], ones, passages)
    assert level.high - level.low > 1.5 * np.ptp(items.level(copied[0], ones)[1:3])


@given(st.integers(0, 20), st.integers(0, 20), st.integers(41, 300))
def test_a_loss_is_excluded_just_where_the_interval_excludes_it(gained, lost, n):
    """Tango's interval is the inversion of his score test: at its lower bound p is 2.5 %."""
    before = [0.0] * gained + [1.0] * (n - gained)
    after = [1.0] * gained + [0.0] * lost + [1.0] * (n - gained - lost)
    margin = -items.paired_proportions(gained, lost, n).low
    assume(margin > 0)
    assert items.p_noninferiority(before, after, [1.0] * n, margin) == pytest.approx(
        0.025, abs=1e-4
    )


def test_equivalence_is_no_loss_either_way():
    before, after = [1.0] * 90 + [0.0] * 10, [1.0] * 85 + [0.0] * 5 + [1.0] * 10
    ones = [1.0] * 100
    sides = [
        items.p_noninferiority(*pair, ones, 0.1) for pair in ((before, after), (after, before))
    ]
    assert items.p_equivalence(before, after, ones, 0.1) == max(sides)
    assert sides[0] < sides[1]
