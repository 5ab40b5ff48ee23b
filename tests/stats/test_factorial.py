"""Effects, interactions and shares of a factorial, against closed forms and planted truths."""

from itertools import combinations, permutations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from greenbench.stats.factorial import Cell, combined, factorial, p_value

NAMES = ("a", "b", "c")
SETS = [frozenset(some) for size in (1, 2, 3) for some in combinations(NAMES, size)]


def cell(parts, mean, variance=0.01, n=6):
    return Cell(frozenset(parts), mean, variance, n - 1, n)


def test_of_two_factors_the_interaction_is_what_their_sum_leaves():
    found = factorial([cell("a", -0.3, 0.01), cell("b", -0.1, 0.02), cell("ab", -0.25, 0.03)])
    effects = found.effects
    assert found.order == 2
    assert [round(effects[frozenset(each)].value, 12) for each in ("a", "b", "ab")] == [
        -0.3,
        -0.1,
        0.15,
    ]
    variance, freedom = 0.06, 0.06**2 / ((0.01**2 + 0.02**2 + 0.03**2) / 5)
    half = stats.t.ppf(0.975, freedom) * sqrt(variance)
    assert effects[frozenset("ab")].bounds == pytest.approx((0.15 - half, 0.15 + half))
    assert found.shares["a"].value == pytest.approx(-0.3 + 0.075)
    assert found.shares["b"].value == pytest.approx(-0.1 + 0.075)


@given(st.lists(st.floats(-2, 2), min_size=7, max_size=7))
def test_shares_are_the_mean_over_all_orders_of_what_each_adds(means):
    """Shapley's own definition."""
    worth = dict(zip(SETS, means, strict=True)) | {frozenset(): 0.0}
    found = factorial([cell(parts, worth[parts]) for parts in SETS])
    assert found.order == 3
    for name in NAMES:
        added = []
        for order in permutations(NAMES):
            before = frozenset(order[: order.index(name)])
            added.append(worth[before | {name}] - worth[before])
        assert found.shares[name].value == pytest.approx(np.mean(added), abs=1e-9)
    whole = sum(share.value for share in found.shares.values())
    assert whole == pytest.approx(worth[frozenset(NAMES)], abs=1e-9)


def test_a_fraction_tells_pairs_where_it_can_and_single_factors_else():
    pairs = [cell(parts, 0.1 * len(parts)) for parts in SETS if len(parts) < 3]
    assert factorial(pairs).order == 2
    assert factorial([cell(name, 0.1) for name in NAMES]).order == 1
    assert factorial([cell("abc", 0.3), cell("a", 0.1)]) is None
    assert factorial([]) is None


def test_half_of_five_tells_all_pairs_by_intervals_two_thirds_as_wide_as_those_of_pairs_alone():
    """Both have 16 cells: the singles and the whole, and the triples or the pairs."""
    names = "abcde"

    def of(*sizes):
        cells = [
            cell(some, 0.1 * len(some)) for size in sizes for some in combinations(names, size)
        ]
        return factorial(cells)

    half, pairs = of(1, 3, 5), of(1, 2, 5)
    assert half.order == pairs.order == 2
    widths = [found.effects[frozenset("ab")].high for found in (half, pairs)]
    assert widths[0] / widths[1] == pytest.approx(0.643, abs=0.005)
    assert half.effects[frozenset("ab")].value == pytest.approx(0)
    assert half.p_lack == pytest.approx(1)
    assert set(half.shares) == set(names)


def test_a_cell_that_was_measured_twice_counts_by_its_precision():
    found = factorial([cell("a", 0.0, 0.01), cell("a", 1.0, 0.03)])
    assert found.effects[frozenset("a")].value == pytest.approx(0.25)
    assert found.effects[frozenset("a")].n == 6


def test_without_any_spread_the_interval_is_the_value():
    found = factorial([cell("a", 0.5, 0.0), cell("b", 0.25, 0.0), cell("ab", 0.5, 0.0)])
    assert found.effects[frozenset("ab")] == (
        pytest.approx(-0.25),
        pytest.approx(-0.25),
        pytest.approx(-0.25),
        6,
        None,
    )


def test_of_planted_effects_the_intervals_hold_the_truth_as_often_as_they_say():
    """Cells of five blocks each, of spreads that differ fivefold."""
    noise = np.random.default_rng(7)
    truth = dict(zip(SETS, (-0.4, -0.1, 0.05, 0.2, 0, 0.02, 0), strict=True))
    spreads = dict(zip(SETS, (0.02, 0.1, 0.05, 0.03, 0.02, 0.08, 0.04), strict=True))
    means = {
        parts: sum(effect for some, effect in truth.items() if some <= parts) for parts in SETS
    }
    shares = {
        name: sum(effect / len(parts) for parts, effect in truth.items() if name in parts)
        for name in NAMES
    }
    hits, means_of = [], []
    for _ in range(600):
        cells = []
        for parts in SETS:
            blocks = noise.normal(means[parts], spreads[parts], 5)
            cells.append(Cell(parts, blocks.mean(), blocks.var(ddof=1) / 5, 4, 5))
        found = factorial(cells)
        told = [(found.effects[parts], truth[parts]) for parts in SETS]
        told += [(found.shares[name], shares[name]) for name in NAMES]
        hits.append([each.low <= true <= each.high for each, true in told])
        means_of.append([each.value - true for each, true in told])
    assert 0.93 <= np.mean(hits) <= 0.97
    for each in np.mean(hits, axis=0):
        assert 0.925 <= each <= 0.99  # of any single one; Welch's is a little wide
    error = np.std(means_of, axis=0) / 600**0.5
    assert np.all(np.abs(np.mean(means_of, axis=0)) < 3.5 * error)


def test_a_sum_of_nothing_is_zero():
    assert combined([cell("a", 3.0)], [0.0]) == (0, 0, 0, 0, None)


def test_what_the_effects_leave_over_is_told():
    """A whole of four that pairs add up to, and one that they do not."""
    names = "abcd"
    pairs = [
        cell(some, 0.1 * len(some), 0.0001) for size in (1, 2) for some in combinations(names, size)
    ]
    assert factorial([*pairs, cell(names, 0.4, 0.0001)]).p_lack == pytest.approx(1)
    assert factorial([*pairs, cell(names, 0.8, 0.0001)]).p_lack < 0.001
    assert factorial(pairs).p_lack == 1


def test_a_sum_has_the_p_value_of_its_interval():
    cells = [cell("a", 0.2, 0.01), cell("b", 0.1, 0.02)]
    found = combined(cells, [1, -1])
    p = p_value(cells, [1, -1])
    freedom = 0.03**2 / ((0.01**2 + 0.02**2) / 5)
    assert p == pytest.approx(2 * stats.t.sf(0.1 / 0.03**0.5, freedom))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * 0.03**0.5)
    assert p_value([cell("a", 0.0, 0.0)], [1]) == 1
