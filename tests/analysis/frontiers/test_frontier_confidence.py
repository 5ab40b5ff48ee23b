"""The frontier's doubt against cases whose probabilities are known."""

import numpy as np
import pytest
from helpers import campaign

from greenbench.analysis.frontiers import frontier_confidence
from greenbench.analysis.frontiers.cost_frontiers import frontiers
from greenbench.analysis.frontiers.frontier import Point
from greenbench.analysis.frontiers.frontier_confidence import Draws, draw, hypervolume, standings
from greenbench.analysis.groups.rows import groups
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.simulate import exam
from greenbench.simulate.exam import Exam, Flips
from greenbench.simulate.measured_run import Lab, Truth, run
from greenbench.simulate.moving_engine import TOKENS
from greenbench.simulate.weather import Weather
from greenbench.stats.shrinkage import shrunk


def draws(points, quality_sd, energy_sd, seed=1):
    rng = np.random.default_rng(seed)
    quality, energy = (np.array([getattr(p, side) for p in points]) for side in Point._fields)
    size = (frontier_confidence.DRAWS, len(points))
    return Draws(
        [f"run {i}" for i in range(len(points))],
        points,
        quality + quality_sd * rng.standard_normal(size),
        energy * np.exp(energy_sd * rng.standard_normal(size)),
    )


def test_what_is_far_apart_is_certain_and_names_who_beats_it():
    found = standings(draws([Point(0, 0.5), Point(-5, 0.9), Point(3, 0.8)], 0.01, 0.001))
    assert [s.probability for s in found.values()] == [1.0, 0.0, 1.0]
    assert found["run 1"].ties == ()
    rival = found["run 1"].rival
    assert rival.label in {"run 0", "run 2"}
    assert rival.probability == 1.0
    if rival.label == "run 0":
        assert (rival.quality, rival.cost) == pytest.approx((5.0, 0.5 / 0.9))
    assert found["run 0"].rival is None


def test_two_equal_runs_share_the_doubt():
    """Independent and continuous: one of two equals is beaten in a quarter of all draws."""
    found = standings(draws([Point(0, 0.5), Point(0, 0.5)], 1.0, 0.05))
    for standing in found.values():
        assert standing.probability == pytest.approx(0.75, abs=0.04)
    assert found["run 0"].ties == ("run 1",)


@pytest.mark.parametrize("in_turn", [False, True])
def test_costs_are_drawn_as_wide_as_the_intervals_of_their_runs(in_turn):
    """In turn each loading shifts all blocks of a stay: what blocks alone know is a fifth of it."""
    lab = Lab(Weather(spread=0.003, reload=0.02), in_turn=in_turn)
    dice = np.random.default_rng(3)
    answers = exam.answered(Exam(50), exam.of_baseline(Exam(50), dice), Flips(0.1, 0.1), dice)
    record = run("simulated", Truth(0.8), lab, dice, answers=answers)
    ratio = record.ratios["energy_per_token"]
    low, high = np.quantile(draw({"run": [record]}).cost, [0.025, 0.975])
    assert (low, high) == pytest.approx(ratio.bounds, rel=0.1 * (ratio.high / ratio.low - 1))


@pytest.mark.parametrize("in_turn", [False, True])
def test_joules_per_right_answer_are_as_sure_as_joules_where_every_answer_is_right(in_turn):
    lab, dice = Lab(Weather(spread=0.003, reload=0.02), in_turn=in_turn), np.random.default_rng(4)
    answers = exam.answered(Exam(50), np.ones(50), Flips(), dice)
    record = run("simulated", Truth(0.8), lab, dice, answers=answers)
    (row,) = groups([record])[0].rows
    level, found = ENERGY_PER_TOKEN.level(row.metrics), frontiers([row]).lines[0].right_j
    width = level.high / level.low - 1
    assert found.high / found.low - 1 == pytest.approx(width, rel=0.15)
    assert found.value / level.value == pytest.approx(TOKENS, rel=1e-6)


def test_memberships_are_the_frontiers_of_each_draw():
    found = draws([Point(q, 1.0) for q in range(6)], 3.0, 0.3)
    members = frontier_confidence._memberships(found)
    for row in range(0, frontier_confidence.DRAWS, 97):
        points = [Point(*pair) for pair in zip(found.quality[row], found.cost[row], strict=True)]
        assert list(members[row]) == frontier_confidence.on_frontier(points)


def test_equal_quality_at_more_energy_is_beaten_in_every_draw():
    """As fp32 is by the A/A run: no item changes in either."""
    found = standings(draws([Point(0, 1.0), Point(0, 1.8)], 0.0, 0.02))
    assert [s.probability for s in found.values()] == [1.0, 0.0]


def test_the_hypervolume_is_the_staircase_area():
    """(0, 0.5) wins 10 x 0.5 over (-10, 1), and (-5, 0.2) adds 5 x 0.3."""
    found = hypervolume(draws([Point(0, 0.5), Point(-5, 0.2)], 0.5, 0.02))
    assert found.value == pytest.approx(6.5, rel=0.01)
    assert found.low < 6.5 < found.high
    assert hypervolume(draw({})) is None


def test_the_hypervolumes_interval_allows_for_the_luck_of_those_that_make_the_frontier():
    """Eight runs that are truly equal are the worst case: draws around what was seen never hold the truth."""
    true, labs, held, before = 10 * 0.2, 50, 0, 0
    for lab in range(labs):
        rng = np.random.default_rng([7, lab])
        luck = rng.standard_normal((2, 8))
        points = [Point(0.5 * q, 0.8 * np.exp(0.02 * e)) for q, e in luck.T]
        around = draws(points, 0.5, 0.02, seed=1000 + lab)
        found = hypervolume(around)
        before += found.low <= true <= found.high
        quality, cost = shrunk(around.quality, rng), np.exp(shrunk(np.log(around.cost), rng))
        found = hypervolume(around._replace(quality=quality, cost=cost))
        held += found.low <= true <= found.high
    assert before <= 5
    assert held >= 20


def test_resampled_energy_is_as_wide_as_the_t_interval_of_its_blocks():
    record = campaign.group()[1]
    found = draw({"a": [record]})
    ratio = record.ratios["energy_per_token"]
    low, high = np.quantile(found.cost[:, 0], [0.025, 0.975])
    assert found.points[0].cost == pytest.approx(ratio.value)
    assert (low, high) == pytest.approx((ratio.low, ratio.high), rel=0.02)


def test_a_run_without_joules_or_accuracy_has_no_standing():
    record = campaign.group()[1]
    assert standings(draw({"a": [record.model_copy(update={"quality": []})]})) == {}
    assert standings(draw({"a": [record.model_copy(update={"windows": []})]})) == {}
