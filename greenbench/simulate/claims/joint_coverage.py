"""Intervals of what several numbers make together: J per right answer, savings, crossings."""

from __future__ import annotations

from functools import partial
from math import exp, log
from typing import Any, Final, NamedTuple

import numpy as np

from greenbench.analysis.blocks import paired
from greenbench.analysis.load_crossing import crossing
from greenbench.analysis.load_point import Sides
from greenbench.schema.metrics import ENERGY_PER_REQUEST
from greenbench.schema.traffic import LoadPoint, Traffic
from greenbench.schema.window import Place, Span, Who, Window
from greenbench.simulate import exam
from greenbench.simulate.block_values import protocol, values
from greenbench.simulate.claims.ratio_coverage import holds
from greenbench.simulate.claims.said import Case, Told, kept
from greenbench.simulate.exam import Exam, Flips
from greenbench.simulate.weather import Weather
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


LOADS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
CROSSES: Final = 5.0


def crosses(spread: float, steep: float, dice: np.random.Generator) -> list[Told]:
    """The load at which the better model changes: the log-ratio is a line in the load's logarithm."""
    points, plan = [], protocol("dev")
    sides: dict[float, Sides] = {}
    for load in LOADS:
        ratio = exp(steep * log(load / CROSSES))
        found = values(ratio, Weather("independent", spread), plan, dice)
        before, after = found.baseline[: plan.blocks], found.candidate[: plan.blocks]
        said = {ENERGY_PER_REQUEST.ratio: paired(before, after, "measured:plugin", "")}
        fields: dict[str, Any] = {"load": load, "ratios": said, "blocks": len(before)}
        points.append(LoadPoint.model_construct(**fields))
        sides[load] = Sides(_served("baseline", before), _served("candidate", after))
    return kept("", crossing(points, sides, "request/s", "").load, CROSSES)


def _served(who: Who, joules: list[float]) -> list[Window]:
    """Windows of one request each."""
    taken = []
    for block, energy_j in enumerate(joules):
        place = Place(series="block", unit=block, position=0)
        span: dict[str, Any] = {"start_j": 0.0, "end_j": energy_j}
        traffic: dict[str, Any] = {"requests": 1.0}
        fields: dict[str, Any] = {
            "phase": "serve", "who": who, "place": place, "energy": [Span.model_construct(**span)],
            "traffic": Traffic.model_construct(**traffic),
        }  # fmt: skip
        taken.append(Window.model_construct(**fields))
    return taken


def cases(labs: int) -> list[Case]:
    """All of them."""
    found = [
        Case("J per solved answer",
             f"{each.items} items in {each.groups} groups, {100 * each.right:g} % right"
             f"{', alike in a group' if each.together else ''}", "so often", partial(solving, each),
             labs // 2)
        for each in SOLVING
    ]  # fmt: skip
    found += [
        Case("load at which the better model changes",
             f"5 loads, 5 blocks that spread {100 * spread:g} %, {100 * steep:g} % per e-fold of the load",
             "so often", partial(crosses, spread, steep), labs)
        for spread, steep in ((0.01, 0.1), (0.03, 0.1), (0.05, 0.3))
    ]  # fmt: skip
    return found
