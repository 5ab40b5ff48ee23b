"""Joules per solved item and its factors: identities, closed forms, edges, and how often intervals hold."""

from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtri

from greenbench.stats import solving
from greenbench.stats.solving import FACTORS, Group, redrawn, shifted, split
from greenbench.stats.standard_errors import Error


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(solving, "DRAWS", 4000)


whole = st.integers(1, 400)
grades = st.floats(0.01, 1.0)
groups = st.lists(
    st.builds(
        lambda items, energy, tokens, shares: Group(
            items, energy, tokens, (shares[0] * items, shares[1] * items)
        ),
        st.integers(1, 30),
        st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)),
        st.tuples(whole, whole),
        st.tuples(grades, grades),
    ),
    min_size=1,
    max_size=12,
)


@given(groups)
def test_the_factors_make_the_whole_for_both_models_and_their_ratio(given_groups):
    found = split(given_groups)
    for side in (found.baseline, found.candidate, found.ratio):
        made = (
            side["energy_per_token"].value
            * side["tokens_per_answer"].value
            / side["share_solved"].value
        )
        assert side["energy_per_solved"].value == pytest.approx(made, rel=1e-12)
    for name in FACTORS:
        before, after = found.baseline[name].value, found.candidate[name].value
        assert found.ratio[name].value == pytest.approx(after / before, rel=1e-12)
    energy = sum(group.energy_j[1] for group in given_groups)
    solved = sum(group.solved[1] for group in given_groups)
    assert found.candidate["energy_per_solved"].value == pytest.approx(energy / solved)


@pytest.mark.parametrize("tokens", [[(9, 0)] * 8, [(9, 5), *[(9, 0)] * 7], [(0, 0)] * 8])
def test_answers_without_a_token_leave_what_needs_none(tokens):
    """As of a model that ends at once, which a grader may still find right."""
    found = split([Group(5, (10.0, 4.0), each, (3, 2)) for each in tokens])
    assert found.ratio["energy_per_solved"].value == pytest.approx(0.6)
    assert found.ratio["energy_per_solved"].bounds
    assert found.candidate["share_solved"].value == pytest.approx(0.4)
    for name in ("energy_per_token", "tokens_per_answer"):
        assert found.candidate[name].bounds is None
        assert "no value" in found.candidate[name].reason


def test_by_hand():
    """100 J and 60 J; 50 and 40 tokens; 5 items each, of which 4 and 2 are solved."""
    found = split(
        [Group(2, (40.0, 20.0), (20, 10), (2, 1)), Group(3, (60.0, 40.0), (30, 30), (2, 1))]
    )
    assert {name: found.baseline[name].value for name in FACTORS} == {
        "energy_per_token": 2.0,
        "tokens_per_answer": 10.0,
        "share_solved": 0.8,
        "energy_per_solved": 25.0,
    }
    assert found.candidate["energy_per_solved"].value == 30.0
    assert found.ratio["energy_per_solved"].value == 1.2
    assert found.ratio["energy_per_solved"].n == 5


def test_a_model_that_solves_nothing_takes_unbounded_joules_and_divides_by_no_zero():
    nothing = [Group(1, (10.0, 9.0), (5, 5), (float(i % 2), 0.0)) for i in range(40)]
    found = split(nothing)
    assert found.candidate["share_solved"].value == 0
    assert found.candidate["share_solved"].high < 0.1
    for side in (found.candidate, found.ratio):
        assert side["energy_per_solved"].value == inf
        assert 0 < side["energy_per_solved"].low < inf == side["energy_per_solved"].high
    assert found.ratio["energy_per_solved"].low > 3
    assert found.baseline["energy_per_solved"].value == 20.0
    neither = split([Group(1, (10.0, 9.0), (5, 5), (0.0, 0.0))] * 40)
    assert isnan(neither.ratio["energy_per_solved"].value)


def test_without_joules_there_are_lengths_and_shares():
    found = split([Group(2, None, (10, 20), (1, 2))] * 4)
    assert set(found.ratio) == {"tokens_per_answer", "share_solved"}
    assert found.p_difference is None


def test_one_group_has_no_interval():
    found = split([Group(30, (1.0, 2.0), (10, 20), (10, 20))])
    assert found.ratio["energy_per_solved"].low is None
    assert found.p_difference is None


def simulated(items, share, dice, groups=20, tokens=1.3, right=0.9, joules=0.7):
    """Groups of one run: grades that agree, lengths of long tails, windows that drift and jitter."""
    common = dice.normal(size=items)
    marks = [0.8 * common + 0.6 * dice.normal(size=items) for _ in range(2)]
    solved = [marks[0] < ndtri(share), marks[1] < ndtri(share * right)]
    first = np.maximum(1, np.round(dice.lognormal(4, 0.6, items)))
    second = np.maximum(1, np.round(first * tokens * dice.lognormal(-0.045, 0.3, items)))
    made = []
    for places in np.array_split(np.arange(items), groups):
        drift = dice.normal(1, 0.03)
        counts = [float(each[places].sum()) for each in (first, second)]
        energy = [
            0.1 * factor * count * drift * dice.normal(1, 0.04)
            for factor, count in zip((1.0, joules), counts, strict=True)
        ]
        right_ones = tuple(float(each[places].sum()) for each in solved)
        made.append(Group(len(places), tuple(energy), tuple(map(int, counts)), right_ones))
    return made


def held(items, share, runs=200, **how):
    """Of so many runs, by factor, the share whose interval holds the truth."""
    dice = np.random.default_rng(items)
    truth = {"energy_per_token": 0.7, "tokens_per_answer": 1.3, "share_solved": 0.9}
    truth["energy_per_solved"] = 0.7 * 1.3 / 0.9
    held = dict.fromkeys(FACTORS, 0)
    for _ in range(runs):
        found = split(simulated(items, share, dice, **how)).ratio
        for name in FACTORS:
            held[name] += found[name].low <= truth[name] <= found[name].high
    return {name: count / runs for name, count in held.items()}


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("items", [20, 100, 500])
def test_the_intervals_hold_the_truth_as_often_as_they_say(items, share):
    """93 to 97 % of 200 runs, give or take what 200 runs show; at 5 % of 20 items, one solved item,
    intervals of counts so small hold it more often."""
    for name, seen in held(items, share).items():
        assert seen >= 0.91, (name, seen)
        assert seen <= (1.0 if items * share <= 5 else 0.985), (name, seen)


@pytest.mark.parametrize(("groups", "near"), [(6, 0.1), (20, 0.05)])
def test_what_is_drawn_anew_spreads_as_the_intervals_do(groups, near):
    some = simulated(200, 0.5, np.random.default_rng(3), groups=groups)
    interval, found = split(some).ratio["energy_per_solved"], redrawn(some, 4000)
    assert tuple(np.quantile(found.ratio, [0.025, 0.975])) == pytest.approx(
        (interval.low, interval.high), rel=near
    )
    solved = np.array([group.solved for group in some]).sum(axis=0)
    assert found.change.mean() == pytest.approx((solved[1] - solved[0]) / 200, abs=0.02)
    beside = redrawn(simulated(200, 0.5, np.random.default_rng(3), groups=groups, joules=1.4), 4000)
    assert np.corrcoef(found.ratio, beside.ratio)[0, 1] > 0.9  # the same draws of the same items


def test_one_group_drawn_anew_has_what_its_share_may_be():
    found = redrawn([Group(30, (1.0, 2.0), (10, 20), (10, 20))], 500)
    assert np.isfinite(found.ratio).all()
    assert np.median(found.ratio) == pytest.approx(1, abs=0.1)


def test_a_difference_is_found_as_often_as_its_level_says_where_there_is_none():
    dice = np.random.default_rng(5)
    found = [
        split(simulated(100, 0.5, dice, tokens=1.0, right=1.0, joules=1.0)).p_difference < 0.05
        for _ in range(200)
    ]
    assert sum(found) / len(found) < 0.09


def test_p_values_keep_with_the_interval():
    dice = np.random.default_rng(9)
    for _ in range(100):
        found = split(simulated(60, 0.5, dice, tokens=1.0, right=1.0, joules=0.9))
        interval = found.ratio["energy_per_solved"]
        excluded = not interval.low <= 1 <= interval.high
        assert excluded == (found.p_difference < 0.05) or abs(found.p_difference - 0.05) < 0.003
        assert 0 <= found.p_equivalence <= 1


def test_what_loading_shifts_is_in_the_ratios_of_joules_alone():
    """Errors in quadrature, in logarithms; of two degrees of freedom, as five stays leave."""
    found = split([Group(5, (10.0 + i % 3, 6.0), (50, 40), (3, 3)) for i in range(12)])
    wide = shifted(found, Error(0.02, 2))
    reach = 0.02 * stats.t.ppf(0.975, 2)
    for name in ("energy_per_token", "energy_per_solved"):
        for end in (0, 1):
            before = np.log(found.ratio[name].bounds[end] / found.ratio[name].value)
            after = np.log(wide.ratio[name].bounds[end] / wide.ratio[name].value)
            assert abs(after) == pytest.approx(np.hypot(before, reach))
    for name in ("tokens_per_answer", "share_solved"):
        assert wide.ratio[name] == found.ratio[name]
    assert (wide.baseline, wide.candidate) == (found.baseline, found.candidate)
    assert shifted(found, Error(0.1, 2)).p_difference > 4 * found.p_difference
    unknown = shifted(found, Error(inf, 1)).ratio["energy_per_solved"]
    assert unknown.bounds is None
    assert "loaded too seldom" in unknown.reason
