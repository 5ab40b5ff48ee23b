"""What blocks can show, before they are measured: the chance that a true effect is said to be one.

Log-ratios of blocks are taken to be independent and normal, of one spread.
"""

from __future__ import annotations

from collections.abc import Callable
from math import asinh, inf, log, log1p, sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtr, stdtrit

from greenbench.stats.intervals import CONFIDENCE, MARGIN, t_quantile

GOAL: Final = 0.8
"""A chance that is worth a run."""
FIRST_STEPS, LATER_STEPS = 120, 24
"""Quantiles of the two spreads over which a chance is integrated: right to three digits."""
MOST_TRIED: Final = 1000
"""Blocks."""
LARGEST: Final = 0.9
"""Of the effects that are tried."""

Floats: TypeAlias = npt.NDArray[np.float64]


class Blocks(NamedTuple):
    """How many are measured: `first`, then as many as their spread asks for, up to `most`."""

    first: int
    most: int
    half_width: float = inf
    """Of the ratio, to come to; infinite: no more than the first."""


class Chance(NamedTuple):
    """Of one true ratio."""

    shown: float
    """That ``saves`` is said of a ratio below 1, ``costs`` of one above."""
    blocks: float
    """As many are measured, in the mean."""


def spread_of(half_width: float, n: int) -> float:
    """Standard deviation of a block's log-ratio, from half of a ratio's 95 % interval over the ratio.

    Of `n` blocks; an interval that is wider than Student's, by rule 22, gives more. Raises ValueError below
    two.
    """
    if n < 2:
        raise ValueError("one block has no spread")
    return asinh(half_width) * sqrt(n) / t_quantile(n)


def spread_bounds(spread: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a standard deviation that `n` normal values showed (chi-squared)."""
    tails = (1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2
    low, high = (spread * sqrt((n - 1) / float(_chi_squared(n - 1, tail))) for tail in tails)
    return low, high


def chance(ratio: float, spread: float, blocks: Blocks, family: int = 1) -> Chance:
    """That a true `ratio` is told by its word, as `judge` and Holm over `family` runs find it.

    By rule 22 as it is applied: the number of blocks is Stein's (1945), by the spread of the first, and both
    Stein's interval and Student's t of all blocks must be clear of 1. Given both spreads the mean is normal,
    for it is independent of each: the noncentral t of either, joined, is its integral over them. The value
    itself must be over `MARGIN` from 1. Where other runs of the family show something, Holm asks for less.
    """
    if blocks.first < 2:
        return Chance(0.0, float(blocks.first))
    if not spread:
        return Chance(float(abs(ratio - 1) > MARGIN), float(blocks.first))
    freedom = blocks.first - 1
    squares = _chi_squared(freedom, _middles(FIRST_STEPS))
    first = spread * np.sqrt(squares / freedom)
    asked = np.ceil((t_quantile(blocks.first) * first / asinh(blocks.half_width)) ** 2)
    number = np.clip(asked, blocks.first, blocks.most)
    later = number - blocks.first
    added = _chi_squared(np.maximum(later, 1)[:, None], _middles(LATER_STEPS)) * (
        later[:, None] > 0
    )
    whole = spread * np.sqrt((squares[:, None] + added) / (number[:, None] - 1))
    tail = 1 - (1 - CONFIDENCE) / 2 / family
    clear = np.maximum(
        (stdtrit(freedom, tail) * first)[:, None], stdtrit(number - 1, tail)[:, None] * whole
    )
    root = np.sqrt(number)[:, None]
    edge = -log1p(-MARGIN) if ratio < 1 else log1p(MARGIN)
    shown = ndtr((abs(log(ratio)) - np.maximum(clear / root, edge)) * root / spread)
    return Chance(float(shown.mean()), float(number.mean()))


def smallest_effect(
    spread: float, blocks: Blocks, family: int = 1, goal: float = GOAL
) -> float | None:
    """The least saving, as a fraction, that is shown with a chance of `goal`; null above `LARGEST`."""
    low, high = MARGIN, LARGEST
    if chance(1 - high, spread, blocks, family).shown < goal:
        return None
    while high - low > 5e-4:
        middle = (low + high) / 2
        enough = chance(1 - middle, spread, blocks, family).shown >= goal
        low, high = (low, middle) if enough else (middle, high)
    return high


def needed(ratio: float, spread: float, family: int = 1, goal: float = GOAL) -> int | None:
    """The least number of blocks that shows `ratio` with a chance of `goal`; null above `MOST_TRIED`."""

    def enough(number: int) -> bool:
        return chance(ratio, spread, Blocks(number, number), family).shown >= goal

    return _first(enough, 2, MOST_TRIED)


def _first(holds: Callable[[int], bool], low: int, most: int) -> int | None:
    """The least number from `low` to `most` for which it `holds`, as it does for all that are larger."""
    high = low
    while not holds(high):
        if high >= most:
            return None
        low, high = high + 1, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _middles(steps: int) -> Floats:
    return (np.arange(steps) + 0.5) / steps


def _chi_squared(freedom: float | Floats, quantile: float | Floats) -> Floats:
    return np.asarray(2 * gammaincinv(np.asarray(freedom) / 2, quantile))
