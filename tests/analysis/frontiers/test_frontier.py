"""The frontier is Pareto's, against its definition spelled out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.frontiers.frontier import Point, on_frontier, staircase

# Few distinct values, so that ties in one and in both coordinates are common.
POINTS = st.lists(st.builds(Point, st.integers(0, 5), st.integers(1, 5)), max_size=12)


def beats(one: Point, other: Point) -> bool:
    """At least as good in both, better in one."""
    as_good = one.quality >= other.quality and one.cost <= other.cost
    return as_good and one != other


@given(POINTS)
def test_members_are_the_points_that_no_other_beats(points):
    expected = [not any(beats(other, point) for other in points) for point in points]
    assert on_frontier(points) == expected


@given(POINTS)
def test_a_frontier_of_something_is_never_empty(points):
    assert any(on_frontier(points)) == bool(points)


def test_equal_points_stand_together():
    assert on_frontier([Point(60, 1), Point(60, 1), Point(60, 2)]) == [True, True, False]


@given(POINTS)
def test_the_staircase_has_every_beaten_point_under_it_and_no_member(points):
    members = [point for point, member in zip(points, on_frontier(points), strict=True) if member]
    steps = staircase(members)
    assert set(members) <= set(steps)
    for point in points:
        reached = [step.quality for step in steps if step.cost <= point.cost]
        assert max(reached) >= point.quality


def test_the_staircase_steps_across_then_up():
    steps = staircase([Point(62, 3), Point(60, 1)])
    assert steps == [Point(60, 1), Point(60, 3), Point(62, 3)]
