"""By which ratio a group's runs are judged: energy, or speed where that is estimated."""

from __future__ import annotations

from typing import NamedTuple

from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity

EFFECT = 0.02  # design rule 6: a smaller effect is not called one


class Yardstick(NamedTuple):
    """The ratio that an answer ranks by, and how to speak about it."""

    metric: Metric
    claim: str
    seen: str
    of: str
    noun: str

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
)


SPEED = Yardstick(
    TOKENS_PER_S,
    "is the fastest",
    "ran fastest",
    "the baseline's tokens per second",
    "time per token",
)


def helps(ratio: Quantity, yardstick: Yardstick) -> bool:
    """Whether `ratio` is better than 1 with its whole interval, and by more than 2 %."""
    interval = ratio.bounds
    if ratio.value is None or interval is None:
        return False
    worst = max(interval) if yardstick.sign < 0 else min(interval)
    enough = 1 + yardstick.sign * EFFECT
    return yardstick.sign * (worst - 1) > 0 and yardstick.sign * (ratio.value - enough) > 0
