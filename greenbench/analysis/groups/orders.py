"""In which order the rows of a table stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric

if TYPE_CHECKING:
    from greenbench.analysis.groups.comparable import Setting
    from greenbench.analysis.groups.rows import Row

BANDS: Final = (1.0, 3.0)
"""Points of quality that a reader may accept to lose, and by which rows stand apart."""


def band(row: Row) -> int:
    """The first of `BANDS` that its loss keeps within; one more: none; two more: it is not known."""
    change = 0.0 if row.is_lossless else row.change.value
    if change is None:
        return len(BANDS) + 1
    return next((i for i, most in enumerate(BANDS) if change >= -most), len(BANDS))


def _cost(row: Row, place: Setting) -> float:
    """What an answer ranks by, less of it being better; estimates give way to measured speed."""
    value = row.ratio(row.axis if place.measured else TOKENS_PER_S).value
    if not value:
        return math.inf
    return value if place.measured else 1 / value


def _less(metric: Metric) -> Callable[[Row, Setting], tuple[float, ...]]:
    def key(row: Row, _: Setting) -> tuple[float, ...]:
        value = row.ratio(metric).value
        return (math.inf if value is None else value if metric.better == "lower" else -value,)

    return key


def _sure(row: Row, place: Setting) -> tuple[float, ...]:
    return (
        -(row.standing.probability if row.standing else 0.0),
        not row.frontier,
        _cost(row, place),
    )


def _kept(row: Row, _: Setting) -> tuple[float, ...]:
    return (math.inf if row.change.value is None else -row.change.value,)


QUESTION: Final = "question"
ORDERS: Final[Mapping[str, Callable[[Row, Setting], tuple[float, ...]]]] = {
    QUESTION: lambda row, place: (band(row), _cost(row, place)),
    "energy": _less(ENERGY_PER_TOKEN),
    "speed": _less(TOKENS_PER_S),
    "quality": _kept,
    "frontier": _sure,
    "name": lambda row, place: (),
}
"""The usual answers what most readers ask: which helps most, of those that lose at most a point."""
