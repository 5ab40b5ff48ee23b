"""Steps in a series of nights: how often a false one is called, and how soon a true one."""

import numpy as np
import pytest
from scipy import stats

from greenbench.stats.change_points import FEWEST, steps

ALARM, SPREAD = 0.01, 0.01


def nights(dice, count, spread=SPREAD):
    return dice.normal(0, spread, count)


@pytest.mark.parametrize("draw", ["normal", "heavy tails"])
def test_in_a_hundred_nights_without_a_change_one_alarm_at_most(draw):
    """The mean over 200 series of 100 nights."""
    dice = np.random.default_rng(3)
    made = {"normal": lambda: dice.normal(0, SPREAD, 100),
            "heavy tails": lambda: SPREAD * dice.standard_t(4, 100)}[draw]  # fmt: skip
    alarms = [len(steps(made(), ALARM)) for _ in range(200)]
    assert np.mean(alarms) <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_of_five_percent_is_found_within_three_nights(sign):
    dice = np.random.default_rng(4)
    found = []
    for _ in range(200):
        values = nights(dice, 30)
        values[20:] += sign * np.log(1.05)
        told = [step for step in steps(values, ALARM, 0.02) if step.at == 20 and step.seen <= 22]
        found.append(bool(told) and np.sign(told[0].size.value) == sign)
    assert np.mean(found) >= 0.95


def test_its_size_is_the_difference_of_both_levels():
    values = [0.0, 0.01, -0.01, 0.0, 0.01, 0.1, 0.11, 0.09]
    (step,) = steps(values, ALARM)
    assert step.at == 5
    assert step.seen in (6, 7)
    test = stats.ttest_ind(values[5:], values[:5])
    low, high = test.confidence_interval(0.95)
    assert step.size.bounds == pytest.approx((low, high))
    assert step.size.value == pytest.approx(np.mean(values[5:]) - np.mean(values[:5]))


def test_a_step_up_and_down_again_are_two():
    values = [*np.tile([0.0, 0.01], 5), *np.tile([0.2, 0.21], 5), *np.tile([0.0, 0.01], 5)]
    assert [step.at for step in steps(values, ALARM)] == [10, 20]


def test_one_bad_night_is_no_step():
    values = list(np.tile([0.0, 0.01], 10))
    values[12] = 0.5
    assert steps(values, ALARM) == []


def test_what_is_too_short_or_too_small_is_none():
    assert steps([], ALARM) == []
    assert steps([0.0] * FEWEST + [1.0], ALARM) == []
    assert steps([0.0, 0.001] * 5 + [0.012, 0.013] * 5, ALARM, least=0.02) == []
    assert len(steps([0.0] * FEWEST + [1.0] * 2, ALARM)) == 1
