"""Runs drawn towards each other: the closed form of a known spread, and how often draws are right."""

import numpy as np
import pytest

from greenbench.stats.shrinkage import moderated, shrunk

DRAWS = 2000


def around(values, error, dice):
    """Draws whose spread is `error`, of which each run's mean is exact."""
    noise = dice.standard_normal((DRAWS, len(values)))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    return np.array(values) + np.broadcast_to(error, len(values)) * noise


def test_runs_that_are_far_apart_stay_where_they_are():
    dice = np.random.default_rng(0)
    values = np.array([0.1, 0.5, 0.9, 1.4, 2.0])
    draws = around(values, 0.003, dice)
    found = shrunk(draws, dice)
    assert found.mean(axis=0) == pytest.approx(values, abs=0.0005)
    assert found.std(axis=0) == pytest.approx(0.003, rel=0.06)


def test_of_many_runs_the_spread_is_known_and_the_pull_is_the_closed_form():
    """True places of variance 1, errors of variance 1: half of the way to the mean, half of the variance."""
    dice = np.random.default_rng(1)
    truths = dice.standard_normal(300)
    seen = truths + dice.standard_normal(300)
    found = shrunk(around(seen, 1.0, dice), dice)
    slope, middle = np.polyfit(seen, found.mean(axis=0), 1)
    assert slope == pytest.approx(0.5, abs=0.08)
    assert middle == pytest.approx((1 - slope) * seen.mean(), abs=0.05)
    assert found.var(axis=0).mean() == pytest.approx(0.5, abs=0.08)


def test_a_run_without_an_error_and_few_runs_keep_their_draws():
    dice = np.random.default_rng(2)
    values = np.array([0.0, 0.0, 1.0, 1.1, 0.9])
    draws = around(values, [0.0, 0.0, 0.5, 0.5, 0.5], dice)
    found = shrunk(draws, dice)
    assert (found[:, :2] == 0).all()
    assert not np.array_equal(found[:, 2:], draws[:, 2:])
    two = draws[:, [0, 1, 2, 3]]
    assert np.array_equal(shrunk(two, dice), two)
    endless = np.where(np.arange(5) == 4, np.inf, draws)
    assert np.isinf(shrunk(endless, dice)[:, 4]).all()


def test_runs_with_the_same_draws_keep_them_the_same_to_the_last_bit():
    """Of two that tie in quality the cheaper one wins in every draw, before and after."""
    dice = np.random.default_rng(5)
    draws = around(np.array([0.0, 0.4, 0.8, 1.0]), 0.5, dice)
    twice = draws[:, [0, 1, 1, 2, 3, 1]]
    found = shrunk(twice, dice)
    assert np.array_equal(found[:, 1], found[:, 2])
    assert np.array_equal(found[:, 1], found[:, 5])
    assert not np.array_equal(found[:, 0], twice[:, 0])


def test_one_run_far_from_others_that_are_alike_is_not_drawn_in_with_them():
    dice = np.random.default_rng(6)
    values = np.array([*np.linspace(-0.3, 0.3, 12), 4.5])
    found = shrunk(around(values, 1.0, dice), dice)
    assert found[:, -1].mean() == pytest.approx(3.0, abs=0.1)
    assert abs(found[:, :-1].mean(axis=0)).max() < 0.5


def test_errors_that_all_runs_share_do_not_pull():
    """As of items that all were asked: they move the mean, and say nothing of how far runs lie apart."""
    dice = np.random.default_rng(3)
    values = np.array([0.0, 0.2, 0.4, 0.7])
    draws = around(values, 0.01, dice) + dice.normal(0, 5.0, (DRAWS, 1))
    found = shrunk(draws, dice)
    apart = found - found[:, :1]
    assert apart.mean(axis=0) == pytest.approx(values, abs=0.01)


@pytest.mark.parametrize("spread", [0.02, 0.3, 1.0, 5.0])
def test_the_chance_of_being_the_least_is_what_it_is_said_to_be(spread):
    """Of runs that differ by as much as their errors, a plain resample is too sure of the luckiest."""
    dice = np.random.default_rng(4)
    plain, pulled, right = [], [], []

    def least(draws):
        return (draws.argmin(axis=1)[:, None] == np.arange(8)).mean(axis=0).tolist()

    for _ in range(250):
        truths = spread * dice.standard_normal(8)
        seen = truths + dice.standard_normal(8)
        draws = seen + dice.standard_normal((400, 8))
        plain += least(draws)
        pulled += least(shrunk(draws, dice))
        right += (np.arange(8) == truths.argmin()).tolist()

    def off(chances):
        """By how much what is said differs from what is so, in bins of a twentieth; mean of all."""
        said, so = np.array(chances), np.array(right)
        bins = np.digitize(said, np.linspace(0, 1, 21))
        sums = [abs((said - so)[bins == each].sum()) for each in set(bins.tolist())]
        return sum(sums) / len(said)

    assert off(pulled) < 0.08
    if spread < 0.5:
        assert off(plain) > 1.6 * off(pulled)


def test_spreads_of_few_values_are_moderated_and_their_means_stay():
    """Four degrees of freedom each, and as many of the geometric mean: half of either variance."""
    dice = np.random.default_rng(7)
    draws = around(np.array([0.0, 0.1, 0.2, 5.0]), np.array([0.01, 0.02, 0.04, 3.0]), dice)
    found = moderated(draws, [5, 5, 5, 1])
    usual = (0.01 * 0.02 * 0.04) ** (2 / 3)
    wide = [((each**2 + usual) / 2) ** 0.5 for each in (0.01, 0.02, 0.04)]
    assert found.std(axis=0) == pytest.approx([*wide, 3.0])
    assert found.mean(axis=0) == pytest.approx(draws.mean(axis=0))
    assert np.array_equal(moderated(draws[:, :2], [5, 5]), draws[:, :2])
