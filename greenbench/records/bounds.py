"""Bounds that the numbers of a record keep, whoever wrote it: what breaks one is no measurement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from greenbench.schema.metrics import (
    ACCURACY,
    BUSY,
    DECODE_ENERGY_PER_TOKEN,
    ENERGY_PER_TOKEN_LOW,
    GOOD,
    MARGINAL_ENERGY_PER_REQUEST,
    SHARE_SOLVED,
    TPOT,
    TPOT_P90,
    TPOT_P99,
)
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Part, Quantity
from greenbench.schema.record import Record
from greenbench.schema.training.record import Point, Trial
from greenbench.schema.verdict import Comparison
from greenbench.schema.window import Window
from greenbench.wording import plain

LEAST: Final = 1e-15
MOST: Final = 1e15
"""No number of a run is further from 0, nor, where it must be above 0, nearer to it."""
ROUNDING: Final = 1e-9
"""By as much of itself a value may lie outside of its interval."""
ABOVE_0: Final = {
    "ratio", "J", "J/token", "J/answer", "J/request", "J/request batch", "J/item", "s", "s/answer",
    "token/s",
}  # fmt: skip
"""Units of energies, times, speeds and ratios."""
DIFFERENCES: Final = {DECODE_ENERGY_PER_TOKEN.name, MARGINAL_ENERGY_PER_REQUEST.name}
"""Of these units, what is one less another, and may fall below 0."""
FROM_0: Final = {
    SHARE_SOLVED.ratio, ENERGY_PER_TOKEN_LOW.name, "thought_energy", "correlation_s",
    TPOT.name, TPOT_P90.name, TPOT_P99.name,
}  # fmt: skip
"""Likewise, what may be 0: drafts that are kept come all at once, and a model may solve nothing."""
SHARES: Final = {SHARE_SOLVED.name, ACCURACY.name, GOOD.name, BUSY.name, "agreement", "thought"}
PASSED_OVER: Final = {"environment", "spec", "items", "details", "observed", "windows"}
"""Fields without a number that is compared, and those that are looked at by themselves."""
HOLDERS: Final = (Part, dict, list)
"""What may hold numbers with bounds, however deep."""


def broken(record: Record) -> str | None:
    """The first number of `record` that is out of its bounds, in one sentence; null where none is."""
    said = next(_faults(record), None)
    return said and f"It breaks a bound: {plain(said)}."


def _faults(record: Record) -> Iterator[str]:
    for number, window in enumerate(record.windows):
        yield from (f"windows.{number} {said}" for said in _of_window(window))
    for place, part in _parts(record, ""):
        name = place.rpartition(".")[2]
        found: Iterator[str] = iter(())
        if isinstance(part, Quantity):
            found = _of_quantity(name, part)
        elif isinstance(part, Comparison):
            found = _of_comparison(part)
        elif isinstance(part, TaskScore):
            found = _of_score(part)
        elif isinstance(part, Point | Trial):
            found = _of_training(part)
        yield from (f"{place} {said}" for said in found)


def _parts(value: Part | dict[str, Any] | list[Any], place: str) -> Iterator[tuple[str, Part]]:
    """All parts of a record that may hold a number, each with its place."""
    inside: Iterable[tuple[Any, Any]]
    if isinstance(value, Part):
        yield place, value
        inside = value.__dict__.items()
    else:
        inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in inside:
        if isinstance(each, HOLDERS) and not (isinstance(value, Part) and name in PASSED_OVER):
            yield from _parts(each, f"{place}.{name}" if place else str(name))


def _of_window(window: Window) -> Iterator[str]:
    if not window.end_s > window.start_s:
        yield f"ends at {window.end_s:g} s and starts at {window.start_s:g} s"
    counts = {
        "iterations": window.iterations,
        "tokens": window.tokens,
        "prompt_tokens": window.prompt_tokens,
    }
    yield from (f"has {count} {name}" for name, count in counts.items() if not 0 <= count <= MOST)
    if any(not 0 <= each <= MOST for each in window.iteration_s):
        yield "has a request of no possible duration"
    for span in window.energy:
        if not span.end_s > span.start_s:
            yield f"has a meter that ends at {span.end_s:g} s and starts at {span.start_s:g} s"
        if not 0 <= span.tick_s <= MOST:
            yield f"has a meter whose tick is {span.tick_s:g} s"
        if not 0 <= (span.read_s or 0.0) <= MOST:
            yield f"has a meter that is read in {span.read_s:g} s"
        known = (span.start_j, span.end_j, span.low_j or 0.0, span.high_j or 0.0)
        if any(abs(each) > MOST for each in known):
            yield f"counts over {MOST:g} J"


def _of_quantity(name: str, found: Quantity) -> Iterator[str]:
    value = found.value
    if any(abs(each or 0.0) > MOST for each in (value, found.low, found.high)):
        yield f"is beyond {MOST:g} {found.unit}"
    if value is not None:
        if name in SHARES and found.unit != "ratio" and not 0 <= value <= 1:
            yield f"is {value:g}, and a share is from 0 to 1"
        if found.unit in ABOVE_0 and name not in DIFFERENCES:
            yield from _of_amount(value, found.unit, may_be_0=name in FROM_0)
        yield from _of_interval(value, found.low, found.high)


def _of_interval(value: float, low: float | None, high: float | None) -> Iterator[str]:
    slack = ROUNDING * abs(value)
    if (low is not None and low > value + slack) or (high is not None and high < value - slack):
        yield f"is {value:g}, outside of its interval"


def _of_amount(value: float, unit: str, *, may_be_0: bool) -> Iterator[str]:
    if not (value >= LEAST or (may_be_0 and value == 0)):
        yield f"is {value:g} {unit}, and must be above 0"


def _of_comparison(found: Comparison) -> Iterator[str]:
    if found.ratio is not None:
        yield from _of_amount(found.ratio, "", may_be_0=False)
        yield from _of_interval(found.ratio, found.low, found.high)
        if found.ratio > MOST:
            yield f"is beyond {MOST:g}"
    chances = (found.p_difference, found.p_adjusted, found.p_equivalence)
    if any(chance is not None and not 0 <= chance <= 1 for chance in chances):
        yield "has a probability that is none"


def _of_training(found: Point | Trial) -> Iterator[str]:
    """Of an evaluation, or of a learning rate that was tried."""
    amounts = dict(found) | {"loss": None, "who": None}
    for name, value in amounts.items():
        if value is not None and not 0 <= value <= MOST:
            yield f"has a {name} of {value:g}"
    if abs(found.loss or 0.0) > MOST:
        yield f"has a loss beyond {MOST:g}"


def _of_score(found: TaskScore) -> Iterator[str]:
    if not all(LEAST <= item.weight <= MOST for item in found.items):
        yield "has an item whose weight is not above 0"
    if any(max(abs(item.baseline), abs(item.candidate)) > MOST for item in found.items):
        yield f"has an item beyond {MOST:g}"
    if found.is_accuracy:
        for side in (found.baseline, found.candidate):
            if side.value is not None and not 0 <= side.value <= 1:
                yield f"is {side.value:g}, and a share is from 0 to 1"
