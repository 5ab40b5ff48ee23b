"""Made-up blocks: what is true of them, and that they come as the real schedule and stopping rule have it."""

from math import exp, log

import numpy as np
import pytest

from greenbench.simulate.block_values import protocol, values
from greenbench.simulate.claims import ratio_coverage
from greenbench.simulate.claims.said import Case, lines, told
from greenbench.simulate.weather import KINDS, Weather, windows


@pytest.mark.parametrize("kind", KINDS)
def test_without_spread_the_ratio_is_the_true_one(kind):
    found = values(0.8, Weather(kind, 0.0), protocol("dev"), np.random.default_rng(0))
    assert np.divide(found.candidate, found.baseline) == pytest.approx([0.8] * 5)


def test_the_spread_of_independent_blocks_is_what_was_asked_for():
    plan = protocol("publish")
    runs = [
        values(0.8, Weather("independent", 0.02), plan, np.random.default_rng(n)) for n in range(40)
    ]
    logs = [log(c / b) - log(0.8) for run in runs for b, c in zip(run[0], run[1], strict=True)]
    assert np.std(logs) == pytest.approx(0.02, rel=0.1)


def test_more_blocks_are_measured_where_they_spread():
    counts = {
        spread: len(values(1.0, Weather("independent", spread), protocol("dev"),
                           np.random.default_rng(1)).baseline)
        for spread in (0.001, 0.2)
    }  # fmt: skip
    assert counts == {0.001: 5, 0.2: 15}


def test_a_session_shifts_all_of_its_blocks_and_a_loading_all_of_its_turn():
    shifted = values(1.0, Weather("independent", 0.0, session=0.1), protocol("dev"),
                     np.random.default_rng(2))  # fmt: skip
    ratios = np.divide(shifted.candidate, shifted.baseline)
    assert np.ptp(ratios) == pytest.approx(0)
    assert abs(log(ratios[0])) > 0.01
    turns = values(1.0, Weather("independent", 0.0, reload=0.01), protocol("dev"),
                   np.random.default_rng(2), in_turn=True)  # fmt: skip
    assert len(set(turns.baseline)) == 3
    assert len(set(turns.candidate)) == 2


def test_noise_remembers_itself_as_its_kind_says():
    def correlation(kind):
        made = windows(Weather(kind, 0.02), np.random.default_rng(3))
        series = [next(made) for _ in range(4000)]
        return np.corrcoef(series[1:], series[:-1])[0, 1]

    assert correlation("ar1") == pytest.approx(0.8, abs=0.04)
    assert abs(correlation("independent")) < 0.05
    trend = windows(Weather("trend", 0.0), np.random.default_rng(3))
    assert [exp(next(trend)) for _ in range(3)] == [1, 1, 1]


def test_intervals_hold_the_truth_as_often_as_they_say():
    found = [
        line
        for case in ratio_coverage.cases(150)
        if case.where in ("dev, independent noise, blocks that spread 3 %",
                          "dev, heavy tails noise, blocks that spread 3 %",
                          "publish, ar1 noise, blocks that spread 0.5 %")
        for line in lines(case, told(case, range(case.labs)))
    ]  # fmt: skip
    assert [line.holds for line in found] == ["yes"] * 3
    assert isinstance(ratio_coverage.cases(1)[0], Case)
