"""A search for where a curve changes its sign: planted changes, noise, and how few places it takes."""

from math import log

import numpy as np
import pytest
from scipy import stats

from greenbench.stats.bisection import (
    Bracket,
    Sample,
    at_most,
    brackets,
    next_place,
    on_a_grid,
    sign_of,
)

LOW, HIGH, WITHIN = 1, 256, 1.25
BLOCKS = 6
MOST = at_most(LOW, HIGH, WITHIN, whole=True)


def searched(sign, *, within=WITHIN, low=LOW, high=HIGH):
    samples = []
    while (at := next_place(samples, low, high, within, whole=True)) is not None:
        samples.append(Sample(at, sign(at)))
        assert len(samples) < 40
    return samples


@pytest.mark.parametrize("crossing", [1.5, 6.5, 40.5, 200.5])
def test_a_planted_change_is_found_in_half_the_places_of_a_grid_as_fine(crossing):
    samples = searched(lambda at: 1 if at > crossing else -1)
    (found,) = brackets(samples)
    assert found.low < crossing < found.high
    assert found.rises
    assert found.high / found.low <= WITHIN or found.high - found.low == 1
    assert len(samples) <= on_a_grid(LOW, HIGH, WITHIN, whole=True) / 2


def test_where_there_is_none_three_places_are_enough():
    assert len(searched(lambda at: 1)) == 3
    assert brackets(searched(lambda at: -1)) == []
    assert brackets(searched(lambda at: 0)) == []


def test_two_changes_between_equal_ends_show_in_the_middle():
    found = brackets(searched(lambda at: -1 if 5 < at < 60 else 1))
    assert [each.rises for each in found] == [False, True]
    assert found[0].low <= 5 < found[0].high
    assert found[1].low < 60 <= found[1].high


def test_what_is_not_told_stays_within_its_bracket():
    samples = searched(lambda at: 0 if 8 <= at <= 16 else (1 if at > 12 else -1))
    (found,) = brackets(samples)
    assert found.low < 8 < 16 < found.high
    assert brackets([Sample(1, -1), Sample(4, 0), Sample(9, 1)]) == [Bracket(1, 9, True)]


def test_what_is_told_nowhere_takes_no_more_places_than_half_a_grid():
    """Each of which counts as a look."""
    flat = searched(lambda at: 1 if at == LOW else -1 if at == HIGH else 0)
    assert len(flat) == MOST == 11
    assert brackets(flat) == [Bracket(LOW, HIGH, False)]


def test_a_change_before_an_end_that_is_not_told_is_found():
    """As where the largest batch does not fit."""
    (found,) = brackets(searched(lambda at: 0 if at > 200 else (1 if at < 60 else -1)))
    assert found.low < 60 <= found.high


def test_of_whole_numbers_a_grid_has_each_once():
    assert on_a_grid(1, 8, 1.25, whole=True) == 7
    assert on_a_grid(1, 8, 1.25, whole=False) == 11


def test_the_sign_of_one_look_is_that_of_the_interval():
    blocks = np.array([0.02, 0.05, 0.01, 0.04])
    error = blocks.std(ddof=1) / 2
    half = stats.t.ppf(0.975, 3) * error
    assert sign_of(blocks.mean(), error, 4, looks=1) == 1
    assert sign_of(-blocks.mean(), error, 4, looks=1) == -1
    strict = stats.t.ppf(1 - 0.025 / 9, 3) / stats.t.ppf(0.975, 3)
    assert sign_of(half * strict * 0.999, error, 4, looks=9) == 0
    assert sign_of(half * strict * 1.001, error, 4, looks=9) == 1


@pytest.mark.parametrize("crossing", [2.7, 11.3, 37.9, 120.4])
def test_under_noise_the_bracket_holds_the_truth_as_often_as_it_says(crossing):
    """A ratio that grows by a tenth with each doubling, in blocks that spread by 3 %."""
    noise = np.random.default_rng(11)
    held, counts = [], []
    for _ in range(200):

        def sign(at):
            blocks = noise.normal(0.1 * log(at / crossing, 2), 0.03, BLOCKS)
            error = blocks.std(ddof=1) / BLOCKS**0.5
            return sign_of(blocks.mean(), error, BLOCKS, MOST)

        samples = searched(sign)
        found = brackets(samples)
        held.append(len(found) == 1 and found[0].low < crossing < found[0].high)
        counts.append(len(samples))
    assert np.mean(held) >= 0.95
    assert np.mean(counts) <= on_a_grid(LOW, HIGH, WITHIN, whole=True) / 2


def test_places_of_what_is_no_whole_number_have_three_digits():
    assert next_place([Sample(0.5, 1), Sample(8.0, -1)], 0.5, 8.0, 1.5, whole=False) == 2.0
    assert next_place([], 0.5, 8.0, 1.5, whole=False) == 0.5
