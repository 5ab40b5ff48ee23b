"""What runs of one's own say of a published number, in its basis: with idle power, or above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from greenbench.analysis.blocks import (
    NO_IDLE,
    as_quantity,
    doubted,
    half_width,
    level,
    resting_power,
    valid_blocks,
)
from greenbench.analysis.readings import ANSWERED, joules, source
from greenbench.analysis.reproduction.tables import Published
from greenbench.schema.metrics import ENERGY_PER_ANSWER, ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.quantity import Quantity, missing, named
from greenbench.schema.record import Record
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import Interval, paired_ratio, unpaired_ratio

NO_ANSWERS: Final = "no questions were answered in words (task=answers)"
NO_BLOCKS: Final = "no valid block has joules and tokens of it"
BELOW_IDLE: Final = "a block drew no more than idle power"


def ours(row: Published, record: Record, against: Record | None = None) -> Quantity:
    """What `record` says of `row`; of a row that sets one model `against` another, with the run of that one.

    Missing, with the reason, where a run does not hold it in the row's basis.
    """
    if row.of is ENERGY_PER_ANSWER:
        return _per_answer(row, record)
    if against is not None:
        return _across(row, against, record)
    if row.unit:
        return _level(row, record)
    if row.of is TOKENS_PER_S or row.basis == "gross":
        return named(record.ratios, row.of.ratio, "ratio")
    return _above_idle(record)


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


def _above_idle(record: Record) -> Quantity:
    """Joules per token above idle power, candidate over baseline, paired by block."""
    idle = resting_power(record.idle)
    found = _paired_above(record, idle.value)
    if found.value is None or idle.value is None:
        return found
    ends = [_paired_above(record, idle.value + sign * half_width(idle)).value for sign in (-1, 1)]
    shift = max((abs(end - found.value) for end in ends if end is not None), default=0.0)
    return doubted(found, shift, idle)


def _paired_above(record: Record, idle_w: float | None) -> Quantity:
    if idle_w is None:
        return missing("ratio", NO_IDLE)
    before, after = (per_token(record, who, idle_w) for who in WHO)
    return _over(before, after, record, paired_ratio)


def _level(row: Published, record: Record) -> Quantity:
    """Joules per token of the plain model."""
    if row.basis == "gross":
        return ENERGY_PER_TOKEN.level(record.baseline.metrics if record.baseline else {})
    idle = resting_power(record.idle)
    if idle.value is None:
        return missing(row.unit, idle.reason or NO_IDLE)
    found = level(
        per_token(record, "baseline", idle.value), row.unit, source(record.windows), NO_BLOCKS
    )
    waits = [_seconds(w) / w.tokens for w in _answered(record, "baseline") if w.tokens]
    return doubted(found, half_width(idle) * sum(waits) / max(1, len(waits)), idle)


def _across(row: Published, before: Record, after: Record) -> Quantity:
    """Joules per token of one model over another's, each plain in a run of its own."""
    sides = list[list[float]]()
    for record in (before, after):
        idle = resting_power(record.idle).value if row.basis == "net" else 0.0
        if idle is None:
            return missing("ratio", NO_IDLE)
        sides.append(per_token(record, "baseline", idle))
    return _over(sides[0], sides[1], after, unpaired_ratio)


def _over(
    before: list[float], after: list[float], record: Record, ratio: Callable[..., Interval]
) -> Quantity:
    if not before or not after:
        return missing("ratio", NO_BLOCKS)
    if min(*before, *after) <= 0:
        return missing("ratio", BELOW_IDLE)
    return as_quantity(ratio(before, after), "ratio", source(record.windows))


def per_token(record: Record, who: Who, idle_w: float) -> list[float]:
    """J/token of each valid block, less `idle_w` over its time; empty where a block has no joules."""
    windows = _answered(record, who)
    drawn = [joules(window) for window in windows]
    if any(each is None or not w.tokens for each, w in zip(drawn, windows, strict=True)):
        return []
    return [
        ((each or 0.0) - idle_w * _seconds(w)) / w.tokens
        for each, w in zip(drawn, windows, strict=True)
    ]


def _answered(record: Record, who: Who) -> list[Window]:
    """By block, in order."""
    kept = [
        w for w in valid_blocks(record.windows) if w.who == who and w.phase in ANSWERED and w.place
        and w.place.series == "block"
    ]  # fmt: skip
    return sorted(kept, key=lambda window: window.block or 0)


def _seconds(window: Window) -> float:
    """That its joules are of."""
    return window.energy[0].end_s - window.energy[0].start_s
