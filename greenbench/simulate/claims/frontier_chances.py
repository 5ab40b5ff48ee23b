"""Percentages: of a place on the frontier, of being the best in a race; and the frontier's hypervolume."""

from __future__ import annotations

from functools import partial
from math import exp, log
from typing import Final, NamedTuple

import moocore
import numpy as np

from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.analysis.frontiers.frontier_confidence import (
    REFERENCE,
    draw,
    hypervolume,
    standings,
)
from greenbench.schema.record import Record
from greenbench.simulate import exam
from greenbench.simulate.block_values import protocol, values
from greenbench.simulate.claims.ratio_coverage import holds
from greenbench.simulate.claims.said import Case, Told
from greenbench.simulate.exam import Exam, Flips
from greenbench.simulate.light_records import record
from greenbench.simulate.weather import Weather
from greenbench.stats.contenders import Board, Entry, Round
from greenbench.stats.intervals import MARGIN

RUNS: Final = 8
NEARLY: Final = 0.003
"""At most so many of the right answers are lost by techniques that lose next to nothing."""
RACERS, ROUNDS, BLOCKS = 5, 6, 5


class Field(NamedTuple):
    """Runs whose truths are drawn at random."""

    where: str
    cost: float
    """Standard deviation of the log-ratio of joules, around a saving of 20 %."""
    lost: float
    """The right answers lost are uniform up to this share; a third as many wrong ones are gained."""
    lossless: int = 0
    """So many of the runs answer as the baseline does."""
    nearly: int = 0
    """So many lose and gain next to nothing."""
    asked: Exam = Exam()
    weather: Weather = Weather("independent", 0.02)


FIELDS: Final = (
    Field("runs that are apart", 0.15, 0.3),
    Field("runs near each other", 0.02, 0.06),
    Field("near-equal runs", 0.004, 0.02),
    Field("ties: half of them lossless", 0.03, 0.1, lossless=4),
    Field("all lossless, joules near-equal", 0.004, 0.0, lossless=RUNS),
    Field("five of eight nearly lossless", 0.1, 0.15, nearly=5),
    Field("items in documents of five", 0.05, 0.2, asked=Exam(200, 5, 0.8)),
    Field("ten items", 0.05, 0.3, asked=Exam(10)),
    Field("nearly all right", 0.05, 0.05, asked=Exam(100, right=0.97)),
)


def field(
    given: Field, dice: np.random.Generator
) -> tuple[dict[str, Point], dict[str, tuple[Record]]]:
    """Runs by name: what is true of each, and its record."""
    baseline = exam.of_baseline(given.asked, dice)
    points: dict[str, Point] = {}
    records: dict[str, tuple[Record]] = {}
    for number in range(RUNS):
        cost = 0.8 * exp(given.cost * dice.standard_normal())
        most = NEARLY if number < given.nearly else given.lost
        lost = 0.0 if number < given.lossless else most * dice.random()
        flips = Flips(lost, lost / 3 * dice.random())
        name = f"run {number}"
        points[name] = Point(100 * (flips.right(given.asked) - given.asked.right), cost)
        answers = exam.answered(given.asked, baseline, flips, dice)
        blocks, lossless = (
            values(cost, given.weather, protocol("dev"), dice),
            number < given.lossless,
        )
        records[name] = (record(blocks, answers, lossless=lossless),)
    return points, records


def frontier(given: Field, dice: np.random.Generator) -> list[Told]:
    """Of each run, how sure its place is said to be."""
    points, records = field(given, dice)
    members = dict(zip(points, on_frontier(list(points.values())), strict=True))
    said = standings(draw(records))
    return [Told(each.probability, members[name]) for name, each in said.items()]


def volume(given: Field, dice: np.random.Generator) -> list[Told]:
    """Whether the hypervolume's interval holds the true one."""
    points, records = field(given, dice)
    found = hypervolume(draw(records))
    true = moocore.hypervolume(np.array(list(points.values())), ref=list(REFERENCE),
                               maximise=[True, False])  # fmt: skip
    return holds(found, float(true)) if found else []


def race(apart: float, spread: float, dice: np.random.Generator) -> list[Told]:
    """After each round, the chance with which the leader is said to be within 2 % of the best."""
    racers = [Entry((f"racer {number}",)) for number in range(RACERS)]
    true = {each: log(0.8) + apart * dice.standard_normal() for each in racers}
    board, told = Board(racers), []
    for _ in range(ROUNDS):
        for each in racers:
            session = true[each] + 0.01 * dice.standard_normal()
            logs = session + spread * dice.standard_normal(BLOCKS)
            board.add(each, Round(logs.tolist()))
        best = board.best
        if best is not None and (said := board.confidence()) > 0:
            least = min([0.0, *true.values()])
            mine = true[best] if best.parts else 0.0
            told.append(Told(said, mine <= least + log(1 + MARGIN)))
    return told


def cases(labs: int) -> list[Case]:
    """All of them."""
    found = [
        Case("on the frontier", each.where, "as said", partial(frontier, each), labs // 4)
        for each in FIELDS
    ]
    found += [
        Case(
            "interval of the hypervolume", each.where, "so often", partial(volume, each), labs // 4
        )
        for each in FIELDS
    ]
    found += [
        Case("within 2 % of the best of a race",
             f"racers that differ by {100 * apart:g} %, blocks that spread {100 * spread:g} %", "at least",
             partial(race, apart, spread), labs // 10)
        for apart, spread in ((0.05, 0.01), (0.02, 0.02), (0.1, 0.03))
    ]  # fmt: skip
    return found
