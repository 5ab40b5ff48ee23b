"""Intervals of what several numbers make together: J per right answer, savings, crossings."""

from __future__ import annotations

from functools import cache, partial
from math import exp, log
from typing import Any, Final, NamedTuple

import numpy as np
import yaml

from greenbench.analysis.blocks import paired
from greenbench.analysis.energy.per_request import ALWAYS_ON, SHARED, Basis
from greenbench.analysis.energy.promises import break_even
from greenbench.analysis.energy.savings import DAYS_PER_YEAR, payback_days, saved
from greenbench.analysis.frontiers.cost_frontiers import frontiers
from greenbench.analysis.groups.rows import Row, groups
from greenbench.analysis.impact import Assumptions
from greenbench.analysis.load_crossing import crossing
from greenbench.analysis.load_point import Sides
from greenbench.paths import conf_dir
from greenbench.schema.metrics import ENERGY_PER_REQUEST
from greenbench.schema.quantity import Quantity
from greenbench.schema.traffic import LoadPoint, Traffic
from greenbench.schema.window import Place, Span, Who, Window
from greenbench.simulate import exam
from greenbench.simulate.block_values import protocol, values
from greenbench.simulate.claims.ratio_coverage import holds
from greenbench.simulate.claims.said import Case, Told
from greenbench.simulate.drawn_power import IDLE_W
from greenbench.simulate.exam import Exam, Flips
from greenbench.simulate.measured_run import PREPARE_S, Lab, Truth, run
from greenbench.simulate.moving_engine import BUSY_W, REQUEST_S, TOKENS
from greenbench.simulate.weather import Weather
from greenbench.stats.intervals import CONFIDENCE
from greenbench.stats.solving import Group, split

REQUESTS: Final = 10_000.0
"""A day."""
KWH: Final = 3.6e6


class Measured(NamedTuple):
    """A lab in which whole runs are measured."""

    where: str
    truth: Truth
    weather: Weather
    asked: Exam
    flips: Flips
    idle: float = 0.0


MEASURED: Final = (
    Measured("dev, blocks that spread 2 %, 100 items", Truth(0.8, 0.95), Weather("independent", 0.02),
             Exam(100), Flips(0.08, 0.03)),
    Measured("dev, blocks that spread 5 %, 20 items, 15 % right", Truth(0.8, 0.95),
             Weather("independent", 0.05), Exam(20, right=0.15), Flips(0.2, 0.02)),
    Measured("dev, AR(1), 3 %, 100 items, 97 % right", Truth(0.7, 1.1), Weather("ar1", 0.03),
             Exam(100, right=0.97), Flips(0.03, 0.3)),
    Measured("dev, a saving of 3 %, blocks that spread 3 %, documents of five", Truth(0.97, 1.0),
             Weather("independent", 0.03), Exam(100, 5, 0.8), Flips(0.08, 0.03)),
    Measured("dev, blocks that spread 2 %, idle power that differs by 5 % between looks", Truth(0.8, 0.95),
             Weather("independent", 0.02), Exam(100), Flips(0.08, 0.03), 0.05),
)  # fmt: skip


def kept(of: str, found: Quantity, true: float) -> list[Told]:
    """Whether an interval, from a record's number, holds the truth."""
    if found.bounds is None:
        return []
    return [Told(CONFIDENCE, found.bounds[0] <= true <= found.bounds[1], of)]


def whole_runs(lab: Measured, dice: np.random.Generator) -> list[Told]:
    """What a record and the analyses of it say of one run."""
    baseline = exam.of_baseline(lab.asked, dice)
    answers = exam.answered(lab.asked, baseline, lab.flips, dice)
    found = run("simulated", lab.truth, Lab(lab.weather, idle=lab.idle), dice, answers=answers)
    (group,) = groups([found])
    row, truth = group.rows[0], lab.truth
    before_j, after_j = BUSY_W * REQUEST_S, BUSY_W * REQUEST_S * truth.energy
    once_j, freed_s = BUSY_W * PREPARE_S, REQUEST_S * (1 - truth.time)
    each_j = before_j - after_j - IDLE_W * freed_s
    ratios, daily = found.ratios, REQUESTS * each_j
    right = lab.flips.right(lab.asked)
    return [
        *kept("J/token, ratio", ratios["energy_per_token"], truth.energy),
        *kept("tokens/s, ratio", ratios["tokens_per_s"], 1 / truth.time),
        *kept("accuracy, change in points", row.change, 100 * (right - lab.asked.right)),
        *kept("J per correct answer", frontiers([row]).lines[0].right_j, after_j / right),
        *kept("break-even, tokens", break_even(row), once_j / (each_j / TOKENS)),
        *kept("payback, days", payback_days(row, REQUESTS), once_j / daily),
        *_yearly(row, each_j, before_j - after_j),
    ]


@cache
def assumptions() -> Assumptions:
    """As ``conf/impact`` has them."""
    text = (conf_dir() / "impact" / "default.yaml").read_text()
    return Assumptions(**yaml.safe_load(text))


def _yearly(row: Row, always_on_j: float, shared_j: float) -> list[Told]:
    """Savings of a year, in two cases."""
    given, requests = assumptions(), REQUESTS * DAYS_PER_YEAR
    cases: tuple[tuple[Basis, float], ...] = ((ALWAYS_ON, always_on_j), (SHARED, shared_j))
    return [
        told
        for basis, each_j in cases
        for told in kept(
            f"yearly saving, kWh, {basis}", saved(row, given, requests, basis, DAYS_PER_YEAR).energy_kwh,
            requests * each_j * given.pue / KWH,
        )
    ]  # fmt: skip


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
        Case("whole run", each.where, "so often", partial(whole_runs, each), labs // 6)
        for each in MEASURED
    ]
    found += [
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
