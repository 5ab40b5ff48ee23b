"""What whole records say, and the analyses of them, of runs whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Final, NamedTuple

import numpy as np
import yaml

from greenbench.analysis.energy.per_request import ALWAYS_ON, SHARED, Basis
from greenbench.analysis.energy.promises import break_even
from greenbench.analysis.energy.savings import DAYS_PER_YEAR, payback_days, saved
from greenbench.analysis.frontiers.cost_frontiers import frontiers
from greenbench.analysis.groups.rows import Row, groups
from greenbench.analysis.impact import Assumptions
from greenbench.paths import conf_dir
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.simulate import exam
from greenbench.simulate.claims.said import Case, Told, kept
from greenbench.simulate.drawn_power import IDLE_W, Bench
from greenbench.simulate.exam import Exam, Flips
from greenbench.simulate.measured_run import PREPARE_S, Lab, Truth, run
from greenbench.simulate.moving_engine import BUSY_W, REQUEST_S, TOKENS
from greenbench.simulate.weather import Weather

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
    in_turn: bool = False


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
    Measured("dev, models in turn, blocks that spread 2 %, 1 % from one loading to the next",
             Truth(0.8, 0.95), Weather("independent", 0.02, reload=0.01), Exam(100), Flips(0.08, 0.03),
             in_turn=True),
)  # fmt: skip


def whole_run(lab: Measured, bench: Callable[[], Bench], dice: np.random.Generator) -> list[Told]:
    """What a record and the analyses of it say of one run on a `bench`."""
    baseline = exam.of_baseline(lab.asked, dice)
    answers = exam.answered(lab.asked, baseline, lab.flips, dice)
    where = Lab(lab.weather, idle=lab.idle, in_turn=lab.in_turn)
    found = run("simulated", lab.truth, where, dice, answers=answers, bench=bench())
    (group,) = groups([found])
    row, truth = group.rows[0], lab.truth
    before_j, after_j = BUSY_W * REQUEST_S, BUSY_W * REQUEST_S * truth.energy
    once_j, freed_s = BUSY_W * PREPARE_S, REQUEST_S * (1 - truth.time)
    each_j = before_j - after_j - IDLE_W * freed_s
    ratios, daily = found.ratios, REQUESTS * each_j
    right = lab.flips.right(lab.asked)
    return [
        *kept("J/token", ENERGY_PER_TOKEN.level(row.metrics), after_j / TOKENS),
        *kept("tokens/s", TOKENS_PER_S.level(row.metrics), TOKENS / (REQUEST_S * truth.time)),
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


def cases(labs: int, bench: Callable[[], Bench]) -> list[Case]:
    """All of them, each lab's run on a bench of its own."""
    return [
        Case("whole run", each.where, "so often", partial(whole_run, each, bench), labs // 2)
        for each in MEASURED
    ]
