"""The first bad one in a row: by a judge who may skip, and by values that spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbench.stats.first_bad import LOOKS, Unusable, first_bad, halved, most_judged

STEP, SPREAD, PLACES = np.log(1.05), 0.01, 12


@st.composite
def rows(draw):
    """How many there are, the first bad one, and those between the ends that nobody can judge."""
    count = draw(st.integers(2, 40))
    first = draw(st.integers(1, count - 1))
    return count, first, draw(st.sets(st.integers(1, count - 1).filter(lambda at: at < count - 1)))


@given(rows())
def test_the_first_bad_one_is_found_wherever_it_is_and_whatever_is_skipped(row):
    count, first, skipped = row
    judged = []

    def judge(at):
        judged.append(at)
        return None if at in skipped else at >= first

    good, bad = halved(count, judge)
    assert good < first <= bad
    assert set(range(good + 1, bad)) <= skipped
    assert len(judged) == len(set(judged))
    assert not {0, count - 1} & set(judged)
    if not skipped:
        assert bad - good == 1
        assert len(judged) <= most_judged(count)


def test_next_to_what_is_skipped_is_tried_last():
    asked = []

    def judge(at):
        asked.append(at)

    halved(9, judge)
    assert asked[:3] == [4, 2, 6]
    assert sorted(asked) == list(range(1, 8))


def test_two_are_neighbours_and_need_no_judge():
    assert halved(2, None) == (0, 1)
    assert most_judged(2) == 0
    assert [most_judged(count) for count in (3, 5, 9, 10)] == [1, 2, 3, 4]


def searched(dice, first, noise, *, step=STEP, broken=(), count=PLACES):
    """A search whose places step at `first`, and how many values it took."""
    taken = []

    def draw(at):
        taken.append(at)
        if at in broken:
            raise Unusable("it does not install")
        return (step if at >= first else 0.0) + noise(dice)

    return first_bad(count, draw, 1 if step > 0 else -1), taken


NOISES = {
    "normal": lambda dice: dice.normal(0, SPREAD),
    "heavy tails": lambda dice: SPREAD / 2**0.5 * dice.standard_t(4),
}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("sign", [1, -1])
def test_of_a_hundred_searches_five_at_most_name_a_wrong_one(noise, sign):
    """A step of 5 % at a spread of 1 % between sessions, wherever it is; most are named exactly."""
    dice = np.random.default_rng(21)
    wrong, exact = [], []
    for _ in range(150):
        first = int(dice.integers(1, PLACES))
        found, taken = searched(dice, first, noise, step=sign * STEP)
        suspects = found.suspects
        wrong.append(suspects is not None and not suspects.good < first <= suspects.bad)
        exact.append(suspects == (first - 1, first))
        assert len(taken) <= (most_judged(PLACES) + 2) * LOOKS[-1] or found.skipped
    assert np.mean(wrong) <= 0.05
    assert np.mean(exact) >= 0.8


def test_where_nothing_stepped_the_ends_are_rarely_called_different():
    """As where another package than the one that is searched changed the numbers."""
    dice = np.random.default_rng(22)
    shown = [searched(dice, PLACES, NOISES["normal"])[0].suspects is not None for _ in range(400)]
    assert np.mean(shown) <= 0.025


def test_one_place_has_no_first_bad_one():
    """Its values would be held against themselves."""
    with pytest.raises(ValueError, match="two places or more"):
        first_bad(1, lambda at: 0.0, 1)


def test_levels_are_against_the_first_with_intervals_that_hold_the_truth():
    dice = np.random.default_rng(23)
    held = []
    for _ in range(150):
        found, _ = searched(dice, 5, NOISES["normal"])
        held += [
            level.low < (STEP if at >= 5 else 0.0) < level.high
            for at, level in found.levels.items()
            if at
        ]
    assert 0.9 <= np.mean(held) <= 0.99
    assert found.levels[0].value == 0


def test_what_has_no_value_is_skipped_and_says_why_and_an_end_is_not():
    dice = np.random.default_rng(24)
    found, _ = searched(dice, 4, NOISES["normal"], broken=(3, 4))
    assert found.suspects == (2, 5)
    assert found.skipped == {3: "it does not install", 4: "it does not install"}
    assert not {3, 4} & found.levels.keys()
    with pytest.raises(Unusable, match="it does not install") as error:
        searched(dice, 4, NOISES["normal"], broken=(PLACES - 1,))
    assert error.value.at == PLACES - 1


def test_what_the_most_sessions_do_not_tell_is_skipped():
    """One that lies just between both ends."""
    levels = [0.0, 0.5, 1.0]
    dice = np.random.default_rng(25)
    found = first_bad(3, lambda at: levels[at] + dice.normal(0, 0.01), 1)
    assert found.suspects == (0, 2)
    assert found.skipped == {1: "12 sessions do not tell which side it is on"}


def test_without_any_spread_three_sessions_are_enough():
    asked = []

    def draw(at):
        asked.append(at)
        return float(at >= 2)

    found = first_bad(4, draw, 1)
    assert found.suspects == (1, 2)
    assert len(asked) == 12
