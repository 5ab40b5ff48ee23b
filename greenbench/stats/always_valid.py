"""Means that may be looked at after every session: intervals that hold at all looks together.

A session's blocks share a boot, a temperature and neighbours. So the value of block b in session s of a thing
k is taken as ``m_k + u_ks + e_ksb``, u and e independent and normal: u with the spread that sessions have,
e with the noise of k's blocks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import exp, inf, log, sqrt
from statistics import fmean, median
from typing import Final, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)

SPREAD: Final = 0.01
"""Standard deviation of the sessions of one thing, a share of the ratio: what is taken at least, until those
that were measured twice show more."""
PRIOR: Final = 5
"""A thing's noise is taken as one among all things': as if so many of its own values had shown theirs."""
REACH: Final = 100.0
"""Variance of the mixture over means, in variances of a session: what the interval is tightest for."""


class Bounds(NamedTuple):
    """Both ends of an interval; infinite where nothing is known."""

    low: float
    high: float


UNKNOWN: Final = Bounds(-inf, inf)


def radius(n: int, freedom: int, alpha: float) -> float:
    """Half of the interval of a mean of `n` values, in their standard deviations; it holds for all n at once.

    Those means are left out that a normal mixture of others makes more than 1/`alpha` times as likely, with
    the deviation integrated out: a martingale at the true one, so that Ville's inequality bounds the chance
    that it is ever left out. H. Robbins (Ann. Math. Stat. 41 (1970) 1397) for a known deviation, T. L. Lai
    (Ann. Statist. 4 (1976) 265) and H. Wang and A. Ramdas (arXiv 2310.03722) for one that is estimated with
    `freedom` degrees of freedom: exact where those are n - 1. Infinite where it leaves nothing out.
    """
    ratio = 1 + n * REACH
    bar = exp(log(ratio / alpha**2) / (freedom + 1))
    if freedom < 1 or bar >= ratio:
        return inf
    return sqrt(freedom * (bar - 1) / (1 - bar / ratio) / n)


class Tapes(Generic[Key]):
    """The sessions of several things, each a few blocks' values, such as log-ratios."""

    def __init__(self) -> None:
        self._sessions: dict[Key, list[Sequence[float]]] = {}
        self._noise: float | None = None
        self._spread: float | None = None

    def add(self, key: Key, blocks: Sequence[float]) -> None:
        """One more session."""
        if blocks:
            self._sessions.setdefault(key, []).append(blocks)
            self._noise = self._spread = None

    def sessions(self, key: Key) -> int:
        """How many there are."""
        return len(self._sessions.get(key, ()))

    def mean(self, key: Key) -> float | None:
        """Of its sessions' means, all weighing alike; null before the first."""
        found = self._sessions.get(key)
        return fmean(map(fmean, found)) if found else None

    def bounds(self, key: Key, alpha: float) -> Bounds:
        """Where its mean lies: the chance that this is ever wrong, at however many looks, is `alpha`.

        A session's variance is that of the spread, as if known, and of its blocks' noise, moderated towards
        that of all things (G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3).
        """
        found, mean = self._sessions.get(key), self.mean(key)
        if found is None or mean is None:
            return UNKNOWN
        squares, freedom = _within(found)
        if not freedom:  # sessions of one block do not show how much blocks vary
            return UNKNOWN
        prior = PRIOR if len(self._sessions) > 2 else 0
        noise = (squares + prior * self._usual_noise()) / (freedom + prior)
        blocks = len(found) / sum(1 / len(each) for each in found)
        spread = max(self._usual_spread(), self._own_spread(key))
        half = sqrt(spread + noise / blocks) * radius(len(found), freedom + prior, alpha)
        return Bounds(mean - half, mean + half)

    def _usual_noise(self) -> float:
        """Variance of a block, of the median thing."""
        if self._noise is None:
            parts = [_within(found) for found in self._sessions.values()]
            known = [squares / freedom for squares, freedom in parts if freedom]
            self._noise = median(known) if known else 0.0
        return self._noise

    def _usual_spread(self) -> float:
        """Variance between sessions, of all things that have several, or what is taken at least."""
        if self._spread is None:
            several = [found for found in self._sessions.values() if len(found) > 1]
            parts = [_between(found) for found in several]
            freedom = sum(len(found) - 1 for found in several)
            self._spread = max(SPREAD**2, sum(parts) / freedom if freedom else 0.0)
        return self._spread

    def _own_spread(self, key: Key) -> float:
        """The same of one thing, from its third session on."""
        found = self._sessions[key]
        return _between(found) / (len(found) - 1) if len(found) > 2 else 0.0


def _within(sessions: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Squared distances of blocks from their session's mean, and how many of them are free."""
    squares = sum((value - fmean(each)) ** 2 for each in sessions for value in each)
    return squares, sum(len(each) - 1 for each in sessions)


def _between(sessions: Sequence[Sequence[float]]) -> float:
    """Squared distances of sessions from their mean, less what noise makes of them: 0 at least."""
    means = [fmean(each) for each in sessions]
    middle = fmean(means)
    squares, freedom = _within(sessions)
    noise = squares / freedom if freedom else 0.0
    chance = noise * fmean(1 / len(each) for each in sessions) * (len(means) - 1)
    return max(0.0, sum((mean - middle) ** 2 for mean in means) - chance)
