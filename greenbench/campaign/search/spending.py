"""What a search may take, and what it took."""

from __future__ import annotations

import re
from collections.abc import Hashable
from statistics import median
from typing import Final, Literal, NamedTuple

from greenbench.errors import UserError
from greenbench.wording import ESTIMATE, duration, number

UNITS: Final = {
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "J": 1.0,
    "kJ": 1e3,
    "MJ": 1e6,
    "Wh": 3.6e3,
    "kWh": 3.6e6,
}
BUDGET: Final = re.compile(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(UNITS)})")


class Budget(NamedTuple):
    """What a race may cost, all its runs together."""

    amount: float
    unit: Literal["s", "J"]

    def __str__(self) -> str:
        return duration(self.amount) if self.unit == "s" else joules_told(self.amount)


class Cost(NamedTuple):
    """What runs took."""

    seconds: float = 0.0
    joules: float = 0.0
    estimated: bool = False
    meters: frozenset[str] = frozenset()

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        return Cost(
            self.seconds + other.seconds,
            self.joules + other.joules,
            self.estimated or other.estimated,
            self.meters | other.meters,
        )

    def of(self, unit: Literal["s", "J"]) -> float:
        """Its seconds or its joules."""
        return self.seconds if unit == "s" else self.joules

    def __str__(self) -> str:
        mark = ESTIMATE if self.estimated else ""
        energy = f"{mark}{joules_told(self.joules)}" if self.meters else "no joules counted"
        return f"{duration(self.seconds)}, {energy}"


class Ran(NamedTuple):
    """A run with a result."""

    cost: Cost
    questions: Cost
    """Of that, what its questions took."""
    items: float
    """That each of its tasks was asked."""


class Outlook:
    """What one more run would take, by those that were."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Ran] = {}
        self._first: dict[Hashable, Ran] = {}

    def add(self, key: Hashable, ran: Ran) -> None:
        """One more run with a result."""
        self._first.setdefault(key, ran)
        self._last[key] = ran

    def takes(self, key: Hashable, items: float, unit: Literal["s", "J"]) -> float | None:
        """As long as its own last, its questions by how many they are; as the median candidate's first where
        there is none of its own, and null where there is none at all."""
        if (last := self._last.get(key)) is not None:
            return last.cost.of(unit) + last.questions.of(unit) * (items / last.items - 1)
        return median(ran.cost.of(unit) for ran in self._first.values()) if self._first else None


def budget(text: str) -> Budget:
    """Of ``2h``, ``90min`` or ``5MJ``. Raises UserError."""
    match = BUDGET.fullmatch(text.replace(" ", ""))
    if match is None or float(match[1]) <= 0:
        raise UserError(
            f"--budget {text} is no amount: say how long, as 2h or 90min, or how many joules, as 5MJ or 2kWh."
        )
    unit = match[2]
    return Budget(float(match[1]) * UNITS[unit], "s" if unit in {"s", "min", "h"} else "J")


def joules_told(joules: float) -> str:
    """In the unit that a person would take."""
    for unit, size in (("MJ", 1e6), ("kJ", 1e3)):
        if joules >= size:
            return f"{number(joules / size)} {unit}"
    return f"{number(joules)} J"
