"""Where a series steps: the last nights against those before, with a false-alarm rate for all series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from greenbench.stats.intervals import CONFIDENCE, Interval

Array: TypeAlias = npt.NDArray[np.float64]
FEWEST: Final = 4
"""Values before a step, from which their spread is known."""
AHEAD: Final = (2, 3)
"""Values behind it that must agree: of one alone nobody knows whether it stays."""


APART: Final = 0.1


class Step(NamedTuple):
    """A change of level."""

    at: int
    """The first value behind it."""
    seen: int
    """The value with which it was seen."""
    size: Interval
    """Level behind less level before, of all values up to the steps around it."""


def steps(values: Sequence[float], alarm: float, least: float = 0.0) -> list[Step]:
    """Steps of more than `least`, looking again with each value as nights come.

    `alarm`: the chance of a false one at each look, if the values about a level are independent and alike.
    The last two and the last three are each held against all values since the step before, by Student's t,
    at half that chance (Bonferroni); and each of them must lie apart from those, so that one bad night is no
    step.
    """
    data = np.asarray(values, dtype=float)
    found: list[tuple[int, int]] = []
    start = 0
    for seen in range(len(data)):
        at = _step(data[start : seen + 1], alarm, least)
        if at is not None:
            found.append((start + at, seen))
            start += at
    return list(_told(data, found))


def _told(data: Array, found: Sequence[tuple[int, int]]) -> Iterator[Step]:
    """Each where the values behind it, which were not all there when it was seen, place it."""
    before = 0
    for place, (at, seen) in enumerate(found):
        end = found[place + 1][0] if place + 1 < len(found) else len(data)
        near = [each for each in (at - 1, at, at + 1) if before + FEWEST <= each < end]
        best = max(near, key=lambda each: _apart(data[before:each], data[each:end]))
        yield Step(best, seen, _size(data[before:best], data[best:end]))
        before = best


def _apart(before: Array, after: Array) -> float:
    """How far two levels are apart, in standard errors."""
    size = _size(before, after)
    half = (size.high or 0.0) - size.value
    return abs(size.value) / half if half else float("inf")


def _step(values: Array, alarm: float, least: float) -> int | None:
    """Where the last values begin that differ from those before; null: they do not."""
    best: tuple[float, int] | None = None
    for ahead in AHEAD:
        before, after = values[:-ahead], values[-ahead:]
        if len(before) < FEWEST or len(after) < ahead:
            continue
        shift = after - before.mean()
        if abs(shift.mean()) <= least or not _agree(before, shift):
            continue
        p = _p_value(before, after)
        if p < alarm / len(AHEAD) and (best is None or p < best[0]):
            best = p, len(before)
    return best[1] if best else None


def _agree(before: Array, shift: Array) -> bool:
    """Whether each value behind lies where one of those before would in one case of ten."""
    count = len(before)
    reach = before.std(ddof=1) * sqrt(1 + 1 / count) * float(stdtrit(count - 1, 1 - APART))
    return bool(np.all(shift > reach) or np.all(shift < -reach))


def _p_value(before: Array, after: Array) -> float:
    """Two-sided, by the spread of the values before alone: those behind may hold a step of their own."""
    spread = before.std(ddof=1)
    error = spread * sqrt(1 / len(before) + 1 / len(after))
    apart = abs(after.mean() - before.mean())
    if not error:
        return 0.0 if apart else 1.0
    return float(2 * stdtr(len(before) - 1, -apart / error))


def _size(before: Array, after: Array) -> Interval:
    """Of both levels' difference, with the interval of one spread that both have."""
    freedom = len(before) + len(after) - 2
    squares = before.var() * len(before) + after.var() * len(after)
    error = sqrt(squares / freedom * (1 / len(before) + 1 / len(after)))
    value = float(after.mean() - before.mean())
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Interval(value, value - half, value + half, len(before) + len(after))
