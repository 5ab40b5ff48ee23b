"""Ratios of several sessions, pooled: how far sessions differ is a doubt of its own, beside that within each.

A session's blocks share a boot, a temperature and neighbours, which the next session will not have: its
interval says how well that session was measured, and not what another would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, hypot, log, log1p, sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from greenbench.stats.intervals import (
    CONFIDENCE,
    MARGIN,
    Interval,
    from_logs,
    log_error,
    t_quantile,
)

ONE: Final = "one session: what another would show is not known"
ALLOWED: Final = 0.05
"""Standard deviation between sessions, relative, that is taken where one session each shows none."""
UNKNOWN: Final = "a session has no interval of its own"


class Pooled(NamedTuple):
    """What several sessions say together of one ratio."""

    ratio: Interval
    """Of the mean session; n is the number of sessions."""
    next: tuple[float, float] | None = None
    """Between what the next session will show, in 95 of 100 cases; null of one
    session, and where it spans all numbers."""
    tau: float | None = None
    """Standard deviation of the true log-ratios between sessions: a share of the ratio. Null where a session
    does not tell how well it was measured."""
    i_squared: float | None = None
    """Share of the variance of what sessions show that lies between them."""
    p_difference: float | None = None
    """That the mean session's ratio is 1, two-sided; null of one session."""
    p_equivalence: float | None = None
    """That it lies beyond the margin: the greater of two one-sided tests."""


def pooled(sessions: Sequence[Interval]) -> Pooled:
    """Random effects over the ratios of sessions, each above 0, in which all weigh alike.

    The interval is that of J. Hartung and G. Knapp (Stat. Med. 20 (2001) 3875), which with equal weights is
    Student's t of what the sessions show: exact however few they are. Weights by each session's own variance,
    which rests on some five blocks, would cover 90 to 92 % of the truth in place of 95. tau is L. V. Hedges'
    (J. Educ. Stat. 8 (1983) 388), which is the component of variance of a one-way analysis.
    """
    logs = np.log([each.value for each in sessions])
    k = len(logs)
    if k < 2:
        return Pooled(Interval(sessions[0].value, None, None, k, ONE))
    mean, variance = float(logs.mean()), float(logs.var(ddof=1))
    error = sqrt(variance / k)
    half, ahead = t_quantile(k) * error, t_quantile(k) * sqrt(variance * (1 + 1 / k))
    within = _within(sessions)
    between = None if within is None else max(0.0, variance - within)
    return Pooled(
        from_logs(Interval(mean, mean - half, mean + half, k)),
        from_logs(Interval(mean, mean - ahead, mean + ahead, k)).bounds,
        None if between is None else sqrt(between),
        None if between is None else between / variance if variance else 0.0,
        _tail(abs(mean), error, k, sides=2),
        _tail(log1p(MARGIN) - abs(mean), error, k, sides=1),
    )


def between(first: Sequence[float], second: Sequence[float]) -> Interval:
    """The mean session of `second` over that of `first`: ratios above 0, one of each session.

    Student's two-sample t of the logarithms (Biometrika 6 (1908) 1), with one spread for the sessions of
    both, so that one of the two may be a single session. Raises ValueError of one session each.
    """
    sides = [np.log(values) for values in (first, second)]
    freedom = sum(side.size for side in sides) - 2
    if freedom < 1:
        raise ValueError("one session each shows no spread between sessions")
    spread = sqrt(sum(float(((side - side.mean()) ** 2).sum()) for side in sides) / freedom)
    value = float(sides[1].mean() - sides[0].mean())
    half = (
        float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
        * spread
        * sqrt(sum(1 / side.size for side in sides))
    )
    return from_logs(Interval(value, value - half, value + half, freedom + 2))


def allowing(found: Interval, spread: float = ALLOWED) -> Interval:
    """`found`, a ratio of one session over another, with the doubt of sessions that differ by `spread`.

    Both add as squares of their halves, in logarithms: the blocks' own, and a normal one.
    """
    if not found.low or not found.high:
        return found
    apart = float(ndtri((1 + CONFIDENCE) / 2)) * sqrt(2) * log1p(spread)
    low, high = (hypot(log(end / found.value), apart) for end in (found.low, found.high))
    return found._replace(low=found.value * exp(-low), high=found.value * exp(high))


def _within(sessions: Sequence[Interval]) -> float | None:
    """Mean variance of a session's log-ratio, as the intervals tell it; null where one tells none."""
    found = []
    for each in sessions:
        if not each.low or not each.high or each.n < 2:
            return None
        found.append(log_error(each.low, each.high, each.n) ** 2)
    return float(np.mean(found))


def _tail(distance: float, error: float, k: int, *, sides: int) -> float:
    """Probability of so great a distance or more."""
    if not error:
        return 0.0 if distance > 0 else 1.0
    return sides * float(stdtr(k - 1, -distance / error))
