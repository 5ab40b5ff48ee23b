"""The first bad one in a row whose first is good and whose last is bad, as ``git bisect`` finds it, by values
that spread.

A place is bad where its level lies beyond the middle between the levels of both ends, on the side of the last
one. Values come as they are asked for, and after 3, 4, 6, 8 and 12 of a place it is looked whether that is
told; of each end there are half as many at least. All places share one spread, of all values. The chance that
any decision of a search is wrong is 5 % at most, if values about a level are independent and alike: the k-th
may be so in 5 % / k(k + 1), which sum to 5 % however many there are, and its looks share that alike
(Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log2, sqrt
from typing import Final, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from greenbench.stats.intervals import CONFIDENCE, Interval

LOOKS: Final = (3, 4, 6, 8, 12)
"""Values of a place at which it is looked."""
Draw = Callable[[int], float]
"""One value more of a place; raises Unusable where it has none."""
Judge = Callable[[int], bool | None]
"""Whether a place is bad; null where nobody can tell."""


class Unusable(Exception):
    """A place has no value, and why."""

    at: int | None = None


class Suspects(NamedTuple):
    """The last place that is shown good and the first that is shown bad; what lies between was skipped."""

    good: int
    bad: int


class FirstBad(NamedTuple):
    """What a search has shown."""

    suspects: Suspects | None
    """Null where the ends do not differ as they should."""
    levels: dict[int, Interval]
    """Of each place that was measured, less the first one's; each with its own 95 % interval."""
    skipped: dict[int, str]


def most_judged(count: int) -> int:
    """Places between the ends that are judged at most, of `count` in all, where none is skipped."""
    return ceil(log2(count - 1)) if count > 2 else 0


def halved(count: int, judge: Judge) -> Suspects:
    """Halve until two are neighbours, or all between them were skipped; the ends are not judged.

    Where one is skipped, the next is the farthest from all that is known, as neighbours fail alike.
    """
    good, bad = 0, count - 1
    skipped: set[int] = set()
    while left := [at for at in range(good + 1, bad) if at not in skipped]:
        known = {good, bad, *skipped}
        at = max(left, key=lambda each: min(abs(each - other) for other in known))
        is_bad = judge(at)
        if is_bad is None:
            skipped.add(at)
        elif is_bad:
            bad = at
        else:
            good = at
    return Suspects(good, bad)


def first_bad(count: int, draw: Draw, worse: Literal[-1, 1]) -> FirstBad:
    """Search `count` places, of which the last differs from the first by the sign `worse`.

    Raises Unusable, with its place, where an end has no value; ValueError where both ends are one.
    """
    if count < 2:
        raise ValueError("a search needs two places or more")
    search = _Search(draw, count - 1, worse)
    if not search.differ():
        return FirstBad(None, search.levels(), {})
    suspects = halved(count, search.judge)
    return FirstBad(suspects, search.levels(), search.skipped)


class _Search:
    def __init__(self, draw: Draw, last: int, worse: int) -> None:
        self._draw, self._last, self._worse = draw, last, worse
        self._values: dict[int, list[float]] = {}
        self._decisions = 0
        self.skipped: dict[int, str] = {}

    def differ(self) -> bool:
        """Whether the last is shown to be worse than the first."""
        return self._decided({self._last: 1.0, 0: -1.0}) == self._worse

    def judge(self, at: int) -> bool | None:
        """Whether that place lies on the side of the last."""
        try:
            side = self._decided({at: 1.0, 0: -0.5, self._last: -0.5})
        except Unusable as error:
            if error.at != at:
                raise
            self._values.pop(at, None)
            self.skipped[at] = str(error)
            return None
        if not side:
            self.skipped[at] = f"{LOOKS[-1]} sessions do not tell which side it is on"
            return None
        return side == self._worse

    def levels(self) -> dict[int, Interval]:
        """Each place less the first one."""
        return {at: self._interval(at) for at in sorted(self._values)}

    def _decided(self, weights: Mapping[int, float]) -> int:
        """The sign of the weighted sum of levels; 0 where even the most values do not tell it."""
        self._decisions += 1
        chance = (1 - CONFIDENCE) / (self._decisions * (self._decisions + 1)) / len(LOOKS)
        for look in LOOKS:
            for at, weight in weights.items():
                self._fill(at, ceil(look * abs(weight)))
            value, error, freedom = self._sum(weights)
            if abs(value) > error * float(stdtrit(freedom, 1 - chance / 2)):
                return 1 if value > 0 else -1
        return 0

    def _fill(self, at: int, count: int) -> None:
        mine = self._values.setdefault(at, [])
        while len(mine) < count:
            try:
                mine.append(self._draw(at))
            except Unusable as error:
                error.at = at
                raise

    def _sum(self, weights: Mapping[int, float]) -> tuple[float, float, int]:
        """Of the levels, its standard error by the spread of all values, and that one's freedom."""
        every = [np.asarray(values) for values in self._values.values() if values]
        freedom = sum(len(values) - 1 for values in every)
        variance = sum(float(((values - values.mean()) ** 2).sum()) for values in every) / freedom
        value = sum(weight * float(np.mean(self._values[at])) for at, weight in weights.items())
        share = sum(weight**2 / len(self._values[at]) for at, weight in weights.items())
        return value, sqrt(variance * share), freedom

    def _interval(self, at: int) -> Interval:
        count = len(self._values[at])
        if not at:
            return Interval(0.0, None, None, count, "the others are against it")
        value, error, freedom = self._sum({at: 1.0, 0: -1.0})
        half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
        return Interval(value, value - half, value + half, count)
