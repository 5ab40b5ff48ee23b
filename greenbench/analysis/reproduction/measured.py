"""What runs of one's own say of a published number, in its basis: with idle power, or above it."""

from __future__ import annotations

from math import log
from typing import Final, NamedTuple

from greenbench.analysis.blocks import deciding_of, level
from greenbench.analysis.energy.above_idle import (
    NO_BLOCKS,
    answered,
    moved,
    over,
    per_token,
    ratio_above_idle,
    seconds_of,
)
from greenbench.analysis.idle import NO_IDLE, doubted, half_width, resting_power
from greenbench.analysis.readings import source, tokens_per_s
from greenbench.analysis.reproduction.tables import Published
from greenbench.schema.metrics import ENERGY_PER_ANSWER, TOKENS_PER_S
from greenbench.schema.quantity import Provenance, Quantity, missing, named
from greenbench.schema.record import Record
from greenbench.stats.intervals import unpaired_ratio, welch_freedom

NO_ANSWERS: Final = "no questions were answered in words (task=answers)"
NO_SPEED: Final = "no valid block has tokens of it"
PLAIN: Final = "baseline"


class Ours(NamedTuple):
    """What runs of one's own say of a number."""

    found: Quantity
    freedom: float
    """Degrees of freedom of its interval."""


def ours(row: Published, record: Record, against: Record | None = None) -> Ours:
    """What `record` says of `row`; of a row that sets one model `against` another, with the run of that one.

    Missing, with the reason, where a run does not hold it in the row's basis.
    """
    if row.of is ENERGY_PER_ANSWER:
        return Ours(_per_answer(row, record), _groups(record) - 1)
    if against is not None:
        return _across(row, against, record)
    if row.unit:
        found = _level(row, record)
        return Ours(found, found.n - 1)
    found, first = _ratio(row, record), deciding_of(record)
    return Ours(found, (first if 2 <= first < found.n else found.n) - 1)


def _ratio(row: Published, record: Record) -> Quantity:
    if row.of is TOKENS_PER_S or row.basis == "gross":
        return named(record.ratios, row.of.ratio, "ratio")
    return ratio_above_idle(record)


def _per_answer(row: Published, record: Record) -> Quantity:
    """Joules per token times tokens per answer; their errors may go together, so that both ends add up."""
    if not record.solved:
        return missing("ratio", NO_ANSWERS)
    if row.basis == "net":
        return missing("ratio", "joules of answers are kept with idle power")
    found = record.solved[-1].ratio
    token, length = found.energy_per_token, found.tokens_per_answer
    if token.value is None or length.value is None:
        return missing("ratio", token.reason or length.reason or NO_ANSWERS)
    value = token.value * length.value
    if token.bounds is None or length.bounds is None:
        return token.model_copy(
            update={"value": value, "low": None, "high": None, "reason": "no interval of both"}
        )
    low, high = (one * other for one, other in zip(token.bounds, length.bounds, strict=True))
    return token.model_copy(update={"value": value, "low": low, "high": high})


def _groups(record: Record) -> int:
    """In how many questions were asked: n is of the questions, and the interval of the groups."""
    return len({(task.task, item.group) for task in record.solved for item in task.items})


def _level(row: Published, record: Record) -> Quantity:
    """Joules per token, or tokens per second, of the plain model."""
    if row.of is TOKENS_PER_S or row.basis == "gross":
        return row.of.level(record.baseline.metrics if record.baseline else {})
    idle = resting_power(record.idle)
    if idle.value is None:
        return missing(row.unit, idle.reason or NO_IDLE)
    found = level(per_token(record, PLAIN, idle.value), row.unit, source(record.windows), NO_BLOCKS)
    waits = [seconds_of(w) / w.tokens for w in answered(record, PLAIN) if w.tokens]
    return doubted(found, half_width(idle) * sum(waits) / max(1, len(waits)), idle)


def _across(row: Published, before: Record, after: Record) -> Ours:
    """One model's joules per token, or tokens per second, over another's, each plain in a run of its own."""
    if row.of is TOKENS_PER_S:
        return _unpaired(_speeds(before), _speeds(after), "measured:clock", NO_SPEED)

    def at(before_w: float, after_w: float) -> Ours:
        first, second = per_token(before, PLAIN, before_w), per_token(after, PLAIN, after_w)
        return _unpaired(first, second, source(after.windows), NO_BLOCKS)

    if row.basis == "gross":
        return at(0.0, 0.0)
    idle = [resting_power(each.idle) for each in (before, after)]
    before_w, after_w = (each.value for each in idle)
    if before_w is None or after_w is None:
        return Ours(missing("ratio", NO_IDLE), 0)
    found, freedom = at(before_w, after_w)
    found = moved(found, lambda idle_w: at(idle_w, after_w).found, idle[0])
    return Ours(moved(found, lambda idle_w: at(before_w, idle_w).found, idle[1]), freedom)


def _unpaired(before: list[float], after: list[float], where: Provenance, why: str) -> Ours:
    found = over(before, after, where, unpaired_ratio, why)
    if found.bounds is None:
        return Ours(found, 0)
    first, second = ([log(each) for each in side] for side in (before, after))
    return Ours(found, welch_freedom(first, second))


def _speeds(record: Record) -> list[float]:
    """Tokens per second of each valid block of the plain model; empty where a block has none."""
    found = [tokens_per_s(window) for window in answered(record, PLAIN)]
    known = [speed for speed in found if speed]
    return known if len(known) == len(found) else []
