"""Intervals that are looked at after every session hold at all looks together."""

from math import inf, sqrt

import numpy as np
import pytest

from greenbench.stats.always_valid import REACH, UNKNOWN, Tapes, radius

ALPHA = 0.05


@pytest.mark.parametrize(("n", "freedom"), [(5, 4), (12, 11), (3, 17), (40, 39)])
def test_at_the_ends_the_mixture_is_one_over_alpha_times_as_likely(n, freedom):
    """The Bayes factor of a t-test under normal effects (M. Goenen et al., Am. Stat. 59 (2005) 252)."""
    t, ratio = radius(n, freedom, ALPHA) * sqrt(n), 1 + n * REACH
    odds = ((1 + t**2 / freedom) / (1 + t**2 / ratio / freedom)) ** ((freedom + 1) / 2) / sqrt(
        ratio
    )
    assert odds == pytest.approx(1 / ALPHA)


def test_two_values_alone_say_nothing_of_their_mean():
    assert radius(2, 1, ALPHA) == inf
    assert radius(2, 0, ALPHA) == inf
    tapes = Tapes()
    tapes.add("a", [0.1])
    assert tapes.bounds("a", ALPHA) == tapes.bounds("b", ALPHA) == UNKNOWN
    assert tapes.mean("b") is None


def test_sixty_looks_at_normal_values_miss_in_five_of_a_hundred_cases_at_most():
    values = np.random.default_rng(0).normal(0, 1, (4000, 60))
    missed = np.zeros(4000, bool)
    for n in range(2, 61):
        seen = values[:, :n]
        half = seen.std(axis=1, ddof=1) * radius(n, n - 1, ALPHA)
        missed |= np.abs(seen.mean(axis=1)) > half
    assert 0.005 < missed.mean() <= ALPHA


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.02])
def test_many_things_looked_at_after_each_session_are_all_covered(spread):
    """Of unlike noise, and of sessions that differ up to twice as much as is taken at first."""
    draw, missed, things, cases = np.random.default_rng(1), 0, 6, 120
    for _ in range(cases):
        tapes, noise = Tapes(), draw.lognormal(np.log(0.015), 0.7, things)
        wrong = False
        for _ in range(8):
            for thing in range(things):
                session = draw.normal(0, spread) + draw.normal(0, noise[thing], 5)
                tapes.add(thing, session.tolist())
                low, high = tapes.bounds(thing, ALPHA / things)
                wrong |= not low <= 0 <= high
        missed += wrong
    assert missed <= ALPHA * cases


def test_more_sessions_tell_more_and_a_restless_thing_less():
    draw, tapes, halves = np.random.default_rng(2), Tapes(), []
    for _ in range(10):
        for thing, noise in (("calm", 0.01), ("restless", 0.2), ("other", 0.01)):
            tapes.add(thing, draw.normal(0, noise, 5).tolist())
        low, high = tapes.bounds("calm", ALPHA)
        halves.append((high - low) / 2)
    assert halves[-1] < 0.02 < halves[0]
    low, high = tapes.bounds("restless", ALPHA)
    assert (high - low) / 2 > 5 * halves[-1]
    assert tapes.sessions("calm") == 10
