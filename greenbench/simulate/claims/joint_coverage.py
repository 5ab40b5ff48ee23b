"""Intervals of what several numbers make together: J per solved answer."""

from __future__ import annotations

from functools import partial
from math import exp
from typing import Final, NamedTuple

import numpy as np

from greenbench.simulate import exam
from greenbench.simulate.claims.ratio_coverage import holds
from greenbench.simulate.claims.said import Case, Told
from greenbench.simulate.exam import Exam, Flips
from greenbench.stats.solving import Group, split


class Solving(NamedTuple):
    """Items that are answered in words, in groups of one window."""

    items: int
    groups: int
    right: float
    together: float = 0.0
    """Chance that an item goes as its group does."""


SOLVING: Final = (
    Solving(20, 10, 0.5), Solving(50, 10, 0.1), Solving(100, 20, 0.5), Solving(100, 20, 0.05),
    Solving(100, 20, 0.97), Solving(100, 20, 0.5, 0.6), Solving(100, 7, 0.5), Solving(300, 20, 0.8),
)  # fmt: skip


def solving(lab: Solving, dice: np.random.Generator) -> list[Told]:
    """J per solved item and its ratio: the candidate takes 0.7 of the joules and loses a tenth."""
    asked = Exam(lab.items, lab.items // lab.groups, lab.together, lab.right)
    before = exam.of_baseline(asked, dice)
    found = exam.answered(asked, before, Flips(0.1, 0.02), dice)
    size = asked.per_document
    taken = []
    for first in range(0, size * lab.groups, size):
        long = [
            np.maximum(1, dice.poisson(40 * exp(0.3 * dice.standard_normal()), size))
            for _ in (0, 1)
        ]
        tokens = int(long[0].sum()), int(long[1].sum())
        joules = [6.0 * each * exp(0.02 * dice.standard_normal()) for each in tokens]
        right = [
            float(side[first : first + size].sum()) for side in (found.baseline, found.candidate)
        ]
        taken.append(Group(size, (joules[0], 0.7 * joules[1]), tokens, (right[0], right[1])))
    said = split(taken)
    after, mean = Flips(0.1, 0.02).right(asked), 6.0 * 40 * exp(0.3**2 / 2)
    true = {"level": 0.7 * mean / after, "ratio": 0.7 * asked.right / after}
    shown = {"level": said.candidate["energy_per_solved"], "ratio": said.ratio["energy_per_solved"]}
    return [told._replace(of=of) for of in true for told in holds(shown[of], true[of])]


def cases(labs: int) -> list[Case]:
    """All of them."""
    return [
        Case("J per solved answer",
             f"{each.items} items in {each.groups} groups, {100 * each.right:g} % right"
             f"{', alike in a group' if each.together else ''}", "so often", partial(solving, each),
             labs // 2)
        for each in SOLVING
    ]  # fmt: skip
