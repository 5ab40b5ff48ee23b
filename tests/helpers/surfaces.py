"""Races whose truth is planted: what each stack saves and loses, with the noise of blocks and of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import ceil, log

import numpy as np

from greenbench.stats.contenders import Entry, Round
from greenbench.stats.elimination import Race
from greenbench.stats.items import items_to_tell, p_noninferiority

BLOCKS, SPREAD = 5, 0.008
TASKS, ITEMS = 4, (400, 2400, 8000)
"""What all are asked, what tells most, and all that there are."""
TOLD, MOST, POWER = 1e-4, 3200, 0.8
"""A loss is excluded at about that level; more items than so many are all."""
FLIPS = 0.06
"""Of a technique's answers, those that change by chance."""
EXCLUSIVE = 3
"""The first so many cannot be stacked: they pack the weights."""
LARGEST = 3


class Surface:
    """Eight techniques of which the best stack is known."""

    def __init__(
        self,
        seed: int,
        techniques: int = 8,
        limit: float = 1.0,
        losses: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 4.0, 4.0, 4.0),
    ) -> None:
        self._draw, self.limit = np.random.default_rng(seed), limit
        self.names = [f"t{number}" for number in range(techniques)]
        draw = self._draw
        savings = [
            *draw.uniform(0.2, 0.6, EXCLUSIVE),
            *draw.uniform(-0.15, 0.25, techniques - EXCLUSIVE),
        ]
        self._saves = dict(zip(self.names, savings, strict=True))
        self._overlap = draw.uniform(0, 0.5)
        self._loses = {name: float(draw.choice(losses)) for name in self.names}
        self._noise: dict[Entry, float] = {}
        self._answers: dict[Entry, np.ndarray] = {}
        self.runs = self.spent = 0.0

    def truth(self, entry: Entry) -> float:
        """Logarithm of its ratio: each further technique saves less than by itself, or costs as much."""
        savings = sorted((self._saves[name] for name in entry.parts), reverse=True)
        whole = (
            max(s, 0.0) * (1 - self._overlap) ** rank + min(s, 0.0)
            for rank, s in enumerate(savings)
        )
        return -float(sum(whole))

    def loss(self, entry: Entry) -> float:
        """Points."""
        return sum(self._loses[name] for name in entry.parts)

    def grid(self) -> list[Entry]:
        """All stacks that can be."""
        sizes = range(1, LARGEST + 1)
        found = (Entry(some) for size in sizes for some in combinations(self.names, size))
        return [entry for entry in found if self._can_be(entry)]

    def best(self) -> float:
        """Of the truths within the limit, the baseline's among them."""
        kept = (self.truth(each) for each in self.grid() if self.loss(each) <= self.limit)
        return min(0.0, *kept)

    def _can_be(self, entry: Entry) -> bool:
        return (
            len(entry.parts) <= LARGEST
            and sum(n in entry.parts for n in self.names[:EXCLUSIVE]) < 2
        )

    def stacked(self, base: Entry, part: Entry) -> Entry | None:
        """Both, in one order whichever came first."""
        entry = Entry(tuple(name for name in self.names if name in {*base.parts, *part.parts}))
        return entry if self._can_be(entry) else None

    def _asked(self, entry: Entry, more: bool) -> int:
        """How many items a session of it has."""
        known = self._answers.get(entry)
        if not more or known is None:
            return ITEMS[0]
        needed = items_to_tell(known, self.limit / 100, TOLD, POWER)
        told = 100 * TASKS * ceil(min(needed, MOST + 1) / TASKS / 100)
        return told if len(known) == ITEMS[0] < told <= MOST else ITEMS[-1]

    def affords(self, entry: Entry, more: bool, most: float) -> bool:
        """Whether one more is within what all may take."""
        return self.spent + cost(self._asked(entry, more)) <= most

    def measured(self, entry: Entry, count: int, more: bool) -> Round:
        """A session of it."""
        draw = self._draw
        noise = self._noise.setdefault(entry, float(draw.lognormal(log(0.015), 0.5)))
        logs = self.truth(entry) + draw.normal(0, SPREAD) + draw.normal(0, noise, BLOCKS)
        known = self._answers.get(entry, np.empty(0))
        asked = self._asked(entry, more)
        wanted = max(asked, len(known))
        self.runs += 1
        self.spent += cost(asked)
        lost, gained = FLIPS / 2 + self.loss(entry) / 100, FLIPS / 2
        fresh = draw.choice(
            [-1.0, 0.0, 1.0], wanted - len(known), p=[lost, 1 - lost - gained, gained]
        )
        self._answers[entry] = found = np.concatenate([known, fresh])
        if self.limit >= 100:
            return Round(tuple(logs))
        before, after = (found < 0).astype(float), (found > 0).astype(float)
        p_loss = p_noninferiority(before.tolist(), after.tolist(), [1.0] * wanted, self.limit / 100)
        return Round(tuple(logs), p_loss=p_loss, more=wanted < ITEMS[-1])


def cost(items: int) -> float:
    """Of a run that asks so many, in those of the grid's."""
    return 0.7 + 0.3 * items / ITEMS[0]


def grid_cost(surface: Surface) -> float:
    """Of all stacks, each asked as many items as would tell where there is a limit."""
    return len(surface.grid()) * cost(ITEMS[surface.limit < 100])


def raced(surface: Surface, share: float = 0.4) -> Race:
    """A race on it for that share of what the grid takes."""
    most = share * grid_cost(surface)
    singles = [entry for entry in surface.grid() if len(entry.parts) == 1]
    race = Race(
        singles, surface.measured, surface.stacked, lambda *what: surface.affords(*what, most)
    )
    race.run()
    return race
