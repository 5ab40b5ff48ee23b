"""What was said and what was true, counted and told as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from scipy.special import bdtr, bdtrc

from greenbench.schema.quantity import Quantity
from greenbench.stats.intervals import CONFIDENCE, Interval
from greenbench.stats.resampling import share_interval

How = Literal["so often", "at most", "at least", "as said", "predicted", "shown"]
"""``so often`` is an interval's 95 %, or more; ``at most`` is a bound of a chance. ``as said`` and
``at least``: each statement has its own chance, or bound of it, and those near each other count together.
``predicted``: one chance for all; ``shown`` claims nothing."""
IN_BINS: Final = ("as said", "at least")
SURE: Final = 0.001
BINS: Final = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)


class Told(NamedTuple):
    """One statement."""

    chance: float
    """With which it was said to hold."""
    held: bool
    of: str = ""
    """Which, where a case has several."""


class Case(NamedTuple):
    """A kind of claim in one kind of lab."""

    claim: str
    where: str
    how: How
    once: Callable[[np.random.Generator], Sequence[Told]]
    """What one lab says; nothing where it says nothing."""
    labs: int


class Line(NamedTuple):
    """A row of the table."""

    claim: str
    where: str
    how: How
    said: float
    """Mean chance of the statements."""
    true: Interval
    """Share that held."""

    @property
    def holds(self) -> str:
        """Whether what was said is so: not where chance shows as much in 1 of 1,000 such tables' rows."""
        held, of = round(self.true.value * self.true.n), self.true.n
        fewer, more = bdtr(held, of, self.said), bdtrc(held - 1, of, self.said)
        if self.how == "shown":
            return ""
        if self.how in ("as said", "predicted"):
            return (
                "**too high**" if fewer < SURE / 2 else "**too low**" if more < SURE / 2 else "yes"
            )
        return "**no**" if (more if self.how == "at most" else fewer) < SURE else "yes"


def kept(of: str, found: Quantity, true: float) -> list[Told]:
    """Whether an interval, from a record's number, holds the truth."""
    if found.bounds is None:
        return []
    return [Told(CONFIDENCE, found.bounds[0] <= true <= found.bounds[1], of)]


def dice_of(case: Case, lab: int) -> np.random.Generator:
    """The same on every machine."""
    words = f"{case.claim} {case.where}".encode()
    return np.random.default_rng([*words, lab])


def told(case: Case, labs: Iterable[int]) -> list[Told]:
    """All that so many labs say."""
    return [each for lab in labs for each in case.once(dice_of(case, lab))]


def lines(case: Case, found: Sequence[Told]) -> list[Line]:
    """One for each thing that is told, and for each bin of chances; none where nothing was said."""
    claims = dict.fromkeys(each.of for each in found)
    return [
        line
        for of in claims
        for line in _lines(
            case._replace(claim=f"{case.claim}{of and ': '}{of}"),
            [each for each in found if each.of == of],
        )
    ]


def _lines(case: Case, found: Sequence[Told]) -> list[Line]:
    if case.how not in IN_BINS:
        return [_line(case, case.where, found)]
    places = np.digitize([each.chance for each in found], BINS[1:-1])
    bins = [[each for each, at in zip(found, places, strict=True) if at == place]
            for place in range(len(BINS) - 1)]  # fmt: skip
    return [
        _line(case, f"{case.where}; said {100 * low:.0f} to {100 * high:.0f} %", some)
        for low, high, some in zip(BINS, BINS[1:], bins, strict=False)
        if some
    ]


def _line(case: Case, where: str, found: Sequence[Told]) -> Line:
    said = sum(each.chance for each in found) / len(found)
    held = sum(each.held for each in found)
    return Line(case.claim, where, case.how, said, share_interval(held, len(found)))


WORDS: Final = {"at most": "at most ", "at least": "at least "}


def markdown(rows: Sequence[Line]) -> str:
    """A table, in the order given; a claim is named once."""
    head = [
        "| claim | in labs with | said | true, % | statements | holds |",
        "|---|---|---|---|---|---|",
    ]
    body, last = [], ""
    for row in rows:
        low, high = row.true.bounds or (0.0, 1.0)
        said = "" if row.how == "shown" else f"{WORDS.get(row.how, '')}{100 * row.said:.3g} %"
        share = f"{100 * row.true.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        claim = "" if row.claim == last else row.claim
        body.append(f"| {claim} | {row.where} | {said} | {share} | {row.true.n:,} | {row.holds} |")
        last = row.claim
    return "\n".join([*head, *body])
