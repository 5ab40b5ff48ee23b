"""Where along a key of the workload the winner changes, by runs between those that differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import isfinite, log
from typing import Final, NamedTuple

from greenbench.analysis.groups.rows import Group, groups
from greenbench.analysis.yardstick import observations, yardstick_of
from greenbench.errors import UserError
from greenbench.schema.metrics import Metric
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.stats.bisection import (
    Bracket,
    Sample,
    Sign,
    at_most,
    brackets,
    next_place,
    on_a_grid,
    sign_of,
)
from greenbench.stats.intervals import log_error

Ask = Callable[[str], Sequence[Record]]
"""Runs what one override more asks for."""
ALONG: Final = re.compile(r"([a-z_]+(?:\.[a-z0-9_]+)+)=([0-9.]+):([0-9.]+)")
RATES: Final = {"load.rate"}
"""Keys that are no counts, whatever their ends are."""


class Along(NamedTuple):
    """A key, and from where to where it goes."""

    key: str
    low: float
    high: float

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are asked for: of all between whole ends but rates."""
        ends = float(self.low).is_integer() and float(self.high).is_integer()
        return ends and self.key not in RATES

    def told(self, at: float) -> str:
        """A value as an override has it."""
        return str(round(at)) if self.whole else f"{at:.10g}"


class Place(NamedTuple):
    """What the run at one value has shown."""

    at: float
    ratio: Quantity
    sign: Sign
    """+1 where the candidate wins."""


class Crossover(NamedTuple):
    """What a search has shown."""

    along: Along
    metric: Metric | None
    """Of the ratios; null where no run has one."""
    places: list[Place]
    found: list[Bracket]
    grid: int
    """Runs of a grid as fine."""


def along(text: str) -> Along:
    """Of ``KEY=LOW:HIGH``. Raises UserError."""
    match = ALONG.fullmatch(text)
    try:
        low, high = (float(end) for end in match.groups()[1:]) if match else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if match is None or not 0 < low < high:
        raise UserError(
            f"{text} is no key with two ends: say workload.batch_size=1:64, the smaller first and above 0."
        )
    return Along(match[1], low, high)


def crossover(
    ask: Ask, overrides: Sequence[str], asked: Along, within: float, say: Callable[[str], None]
) -> Crossover:
    """Sample until each change of the winner is known `within` that factor.

    Raises UserError for what cannot be searched; a run without a result is a place where it is not known.
    """
    if not (within > 1 and isfinite(within)):
        raise UserError(f"--within {within:g} is no factor above 1: say 1.25 for a quarter.")
    if any(text.lstrip("+").startswith(f"{asked.key}=") for text in overrides):
        raise UserError(f"{asked.key} is searched along: leave its own value out.")
    places: list[Place] = []
    metric: Metric | None = None
    count = at_most(asked.low, asked.high, within, whole=asked.whole)
    while (at := _next(places, asked, within)) is not None:
        word = f"{asked.key}={asked.told(at)}"
        say(f"greenbench: {word}, run {len(places) + 1} of at most {count}")
        group = _group(ask(word))
        metric = metric or (yardstick_of(group).metric if group else None)
        places.append(_place(at, group, metric, count))
    grid = on_a_grid(asked.low, asked.high, within, whole=asked.whole)
    return Crossover(asked, metric, sorted(places), brackets(_samples(places)), grid)


def _next(places: Sequence[Place], asked: Along, within: float) -> float | None:
    return next_place(_samples(places), asked.low, asked.high, within, whole=asked.whole)


def _samples(places: Sequence[Place]) -> list[Sample]:
    return [Sample(place.at, place.sign) for place in places]


def _group(records: Sequence[Record]) -> Group | None:
    """That of the first run that may be shown: of a technique measured against two, the usual one's."""
    group = next(iter(groups(records)), None)
    if group is not None and group.rows[0].is_baseline:
        raise UserError(
            "A baseline never wins over itself: say technique=... with what is to be searched."
        )
    return group


def _place(at: float, group: Group | None, metric: Metric | None, count: int) -> Place:
    """An estimate wins nothing."""
    if group is None or metric is None:
        return Place(at, missing("ratio", "the run has no result"), 0)
    ratio = group.rows[0].ratio(metric)
    if ratio.value is None or ratio.bounds is None or ratio.n < 2 or ratio.is_estimate:
        return Place(at, ratio, 0)
    better = -1 if metric.better == "lower" else 1
    n = observations(ratio, metric)
    error = log_error(*ratio.bounds, n)
    return Place(at, ratio, sign_of(better * log(ratio.value), error, n, count))
