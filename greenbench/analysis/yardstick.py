"""By which ratio a group's runs are judged: energy, per solved problem where answers were graded, or speed
where joules are estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greenbench.analysis.frontiers import axis
from greenbench.analysis.groups.rows import Group, Row
from greenbench.schema.metrics import ENERGY_PER_SOLVED, ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity
from greenbench.stats.solving import LEAST_GROUPS

EFFECT = 0.02  # design rule 6: a smaller effect is not called one


class Yardstick(NamedTuple):
    """The ratio that an answer ranks by, and how to speak about it."""

    metric: Metric
    claim: str
    seen: str
    of: str
    noun: str
    gain: str
    """What is shown where it helps."""

    @property
    def sign(self) -> int:
        """-1 where less is better, +1 where more is."""
        return -1 if self.metric.better == "lower" else +1


ENERGY = Yardstick(
    ENERGY_PER_TOKEN,
    "uses the least energy",
    "drew the fewest joules",
    "the baseline's J/token",
    "energy",
    "saving",
)


SOLVED = Yardstick(
    ENERGY_PER_SOLVED,
    "solves a problem with the least energy",
    "drew the fewest joules per solved problem",
    "the baseline's J per solved problem",
    "energy per solved problem",
    "saving",
)


SPEED = Yardstick(
    TOKENS_PER_S,
    "is the fastest",
    "ran fastest",
    "the baseline's tokens per second",
    "time per token",
    "gain of speed",
)


def is_graded(row: Row) -> bool:
    """Whether answers were graded while their joules were measured, on items enough to claim something."""
    return axis.is_graded(row.record) and row.record.solved[-1].ratio.energy_per_solved.is_measured


def in_energy(rows: Sequence[Row]) -> Yardstick:
    """Of runs whose joules are measured: per solved problem where all of them had answers graded."""
    return SOLVED if rows and all(map(is_graded, rows)) else ENERGY


def yardstick_of(group: Group) -> Yardstick:
    """What a group's answer ranks by."""
    return in_energy(group.rows) if group.setting.measured else SPEED


def helps(ratio: Quantity, yardstick: Yardstick) -> bool:
    """Whether `ratio` is better than 1 with its whole interval, and by more than 2 %."""
    return _beyond(ratio, yardstick.sign)


def harms(ratio: Quantity, yardstick: Yardstick) -> bool:
    """Whether it is worse than 1 in the same way."""
    return _beyond(ratio, -yardstick.sign)


def _beyond(ratio: Quantity, sign: int) -> bool:
    """Whether the nearest that its interval allows lies on that side of 1, and the ratio well so."""
    interval = ratio.bounds
    if ratio.value is None or interval is None:
        return False
    nearest, enough = max(interval) if sign < 0 else min(interval), 1 + sign * EFFECT
    return sign * (nearest - 1) > 0 and sign * (ratio.value - enough) > 0


def observations(ratio: Quantity, metric: Metric) -> int:
    """How many its t interval is of: n, but of answered questions, which n counts, the groups that they were
    asked in, of which there are so many at least."""
    return min(ratio.n, LEAST_GROUPS) if metric is ENERGY_PER_SOLVED else ratio.n
