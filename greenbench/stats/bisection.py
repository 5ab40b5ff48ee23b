"""Where a curve changes its sign: what samples of it say, and where to sample next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log, sqrt
from typing import Literal, NamedTuple

from scipy.special import stdtrit

from greenbench.stats.intervals import CONFIDENCE

Sign = Literal[-1, 0, 1]


class Sample(NamedTuple):
    """The curve's sign at a place above 0; 0 where it is not told."""

    at: float
    sign: Sign


class Bracket(NamedTuple):
    """Between two neighbouring places whose signs are told, and differ."""

    low: float
    high: float
    rises: bool
    """Whether the sign is + behind it."""


def sign_of(mean: float, error: float, n: int, looks: int) -> Sign:
    """The sign of a mean of `n` values with this standard error, told at `looks` places alike.

    The chance that any of so many signs is told wrongly is that of one t interval (Bonferroni).
    """
    if abs(mean) <= error * float(stdtrit(n - 1, 1 - (1 - CONFIDENCE) / (2 * looks))):
        return 0
    return 1 if mean > 0 else -1


def brackets(samples: Sequence[Sample]) -> list[Bracket]:
    """All changes of sign, in order."""
    told = sorted(each for each in samples if each.sign)
    return [
        Bracket(one.at, other.at, other.sign > 0)
        for one, other in pairwise(told)
        if one.sign != other.sign
    ]


def on_a_grid(low: float, high: float, within: float, *, whole: bool) -> int:
    """Places of a grid that is as fine."""
    steps = ceil(log(high / low) / log(within))
    places = (low * (high / low) ** (step / steps) for step in range(steps + 1))
    return len({round(place) if whole else place for place in places})


def at_most(low: float, high: float, within: float, *, whole: bool) -> int:
    """Places that a search takes at most: half of a grid's, and both ends with their middle at least."""
    return max(3, on_a_grid(low, high, within, whole=whole) // 2)


def next_place(
    samples: Sequence[Sample], low: float, high: float, within: float, *, whole: bool
) -> float | None:
    """Where to sample next; null: nowhere, as each change is known `within` that factor, or half the places
    of a grid as fine were sampled.

    First the ends and their middle, so that two changes between them show; then the middle of the widest
    gap in which a sign changes, or behind which it is not told. Middles are geometric, `whole` numbers where
    asked for.
    """
    seen = {each.at for each in samples}
    for end in (low, high):
        if end not in seen:
            return end
    if len(samples) >= at_most(low, high, within, whole=whole):
        return None
    placed = sorted(samples)
    inside = brackets(samples)
    gaps = [
        (other.at / one.at, middle)
        for one, other in pairwise(placed)
        if (len(placed) == 2 or _is_open(one, other, inside)) and other.at / one.at > within
        if (middle := _middle(one.at, other.at, whole=whole)) not in seen
    ]
    return max(gaps)[1] if gaps else None


def _is_open(one: Sample, other: Sample, inside: Sequence[Bracket]) -> bool:
    """Whether a change may lie between two neighbours: within a bracket, or where an end is not told."""
    within = any(each.low <= one.at and other.at <= each.high for each in inside)
    return within or (not one.sign) != (not other.sign)


def _middle(low: float, high: float, *, whole: bool) -> float:
    middle = sqrt(low * high)
    return round(middle) if whole else float(f"{middle:.3g}")
