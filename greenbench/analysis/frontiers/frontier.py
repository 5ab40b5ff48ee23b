"""The frontier: which runs no other run beats in quality and cost together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A run as the frontier sees it: more quality is better, less of its cost is better, joules or another.

    Any unit does, as long as all points share it.
    """

    quality: float
    cost: float


def on_frontier(points: Sequence[Point]) -> list[bool]:
    """Per point, whether no other is at least as good in both and better in one (Pareto).

    Equal points stand or fall together. One sweep from the least cost up, O(n log n).
    """
    members = [False] * len(points)
    best: Point | None = None
    for index in sorted(range(len(points)), key=lambda i: (points[i].cost, -points[i].quality)):
        point = points[index]
        if best is None or point.quality > best.quality:
            best = point
        members[index] = point == best
    return members


def staircase(points: Sequence[Point]) -> list[Point]:
    """Corners of the line that parts what the frontier's `points` dominate from what they do not.

    From the least cost up: each member, and before every next one the corner under it.
    """
    steps: list[Point] = []
    for point in sorted(set(points), key=lambda p: p.cost):
        if steps:
            steps.append(Point(steps[-1].quality, point.cost))
        steps.append(point)
    return steps
