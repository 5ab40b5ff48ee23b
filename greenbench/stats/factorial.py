"""What factors do together: effects and interactions of a factorial, and what each adds to the whole.

A cell is a set of factors that were applied at once and the mean that was seen, in logarithms and against
none of them, so that the empty set is 0 without doubt. The interaction of a set is what is left of its cell
once those of all its parts are taken away (its Harsanyi dividend, Harsanyi 1963; a contrast of the 2^k
factorial, Yates 1937). The share of a factor is its Shapley value (Shapley 1953): of each interaction, an
equal part for each factor in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, stdtr, stdtrit

from greenbench.stats.intervals import CONFIDENCE, Interval

Array: TypeAlias = npt.NDArray[np.float64]
Parts: TypeAlias = frozenset[str]
SINGULAR = 1e-9
"""Share of the largest singular value below which a design does not tell two effects apart."""


class Cell(NamedTuple):
    """What was seen of some factors together."""

    parts: Parts
    mean: float
    variance: float
    """Of the mean."""
    freedom: float
    """Degrees of freedom of the variance."""
    n: int


class Factorial(NamedTuple):
    """What cells say of their factors, each with its 95 % interval, in logarithms."""

    order: int
    """Of so many factors at once the interactions were told; those of more are taken to be 0."""
    effects: dict[Parts, Interval]
    """Of single factors, and interactions of several."""
    shares: dict[str, Interval]
    """What each factor adds to all of them together: they sum to that."""
    p_lack: float = 1.0
    """That the cells are what these effects add up to; 1 where there is an effect for each cell."""


def factorial(cells: Sequence[Cell]) -> Factorial | None:
    """Effects by generalized least squares, of the highest order that the cells tell apart.

    Null where they do not even tell single factors apart. Where there is a cell for each set the effects
    are the contrasts of Yates, whatever the variances are.
    """
    names = sorted({name for cell in cells for name in cell.parts})
    for order in range(len(names), 0, -1):
        columns = [
            frozenset(some) for size in range(1, order + 1) for some in combinations(names, size)
        ]
        weights = _weights(cells, columns)
        if weights is not None:
            effects = dict(zip(columns, weights, strict=True))
            return Factorial(
                order,
                {parts: combined(cells, row) for parts, row in effects.items()},
                {name: combined(cells, _share(name, effects)) for name in names},
                _p_lack(cells, columns, weights),
            )
    return None


def combined(cells: Sequence[Cell], weights: Sequence[float] | Array) -> Interval:
    """The weighted sum of the cells' means, with its t interval.

    Its degrees of freedom are Welch's and Satterthwaite's (F. E. Satterthwaite, Biometrics 2 (1946) 110).
    """
    value, variance, freedom = _sum(cells, weights)
    n = min((c.n for w, c in zip(weights, cells, strict=True) if abs(w) > SINGULAR), default=0)
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * sqrt(variance) if variance else 0.0
    return Interval(value, value - half, value + half, n)


def p_value(cells: Sequence[Cell], weights: Sequence[float]) -> float:
    """Two-sided, that the weighted sum is 0."""
    value, variance, freedom = _sum(cells, weights)
    if not variance:
        return 0.0 if value else 1.0
    return float(2 * stdtr(freedom, -abs(value) / sqrt(variance)))


def _sum(cells: Sequence[Cell], weights: Sequence[float] | Array) -> tuple[float, float, float]:
    """It, its variance, and the degrees of freedom of that."""
    used = [(float(w), cell) for w, cell in zip(weights, cells, strict=True) if abs(w) > SINGULAR]
    parts = [(w**2 * cell.variance, cell.freedom) for w, cell in used]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / own for part, own in parts) if variance else 1.0
    return sum(w * cell.mean for w, cell in used), variance, freedom


def _p_lack(cells: Sequence[Cell], columns: Sequence[Parts], weights: Array) -> float:
    """By the residuals' chi-squared, as their variances were known."""
    spare = len(cells) - len(columns)
    if not spare or not all(cell.variance for cell in cells):
        return 1.0
    means = np.array([cell.mean for cell in cells])
    left = means - _design(cells, columns) @ (weights @ means)
    return float(chdtrc(spare, float(np.sum(left**2 / [cell.variance for cell in cells]))))


def _design(cells: Sequence[Cell], columns: Sequence[Parts]) -> Array:
    return np.array([[column <= cell.parts for column in columns] for cell in cells], dtype=float)


def _weights(cells: Sequence[Cell], columns: Sequence[Parts]) -> Array | None:
    """Of each cell in each effect, as (effects, cells); null where they are not told apart."""
    if len(cells) < len(columns):
        return None
    least = min((cell.variance for cell in cells if cell.variance), default=1.0)
    precision = 1 / np.sqrt([cell.variance or least for cell in cells])
    left, sizes, right = np.linalg.svd(
        _design(cells, columns) * precision[:, None], full_matrices=False
    )
    if sizes[-1] <= SINGULAR * sizes[0]:
        return None
    found: Array = (right.T / sizes) @ left.T * precision
    return found


def _share(name: str, effects: Mapping[Parts, Array]) -> Array:
    """Its part of each interaction, as weights of the cells."""
    shares = [weights / len(parts) for parts, weights in effects.items() if name in parts]
    return np.asarray(np.sum(shares, axis=0))
