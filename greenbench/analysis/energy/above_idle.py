"""Joules per token above idle power, of both models and as their ratio."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from greenbench.analysis.blocks import as_quantity, ratio_of, valid_blocks
from greenbench.analysis.energy.energy_by_meter import weakest
from greenbench.analysis.energy.per_request import of_sessions
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.idle import NO_IDLE, doubted, half_width, resting_power
from greenbench.analysis.readings import ANSWERED, joules, source
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import Interval, mean_interval

NO_COMMON_IDLE: Final = "no idle window with both models loaded"
NO_BLOCKS: Final = "no valid block has joules and tokens of it"
BELOW_IDLE: Final = "a block drew no more than idle power"


def above_idle(row: Row, who: Who = "candidate") -> Quantity:
    """A model's J/token less idle power x seconds: mean over blocks, in J/token.

    Idle power is that with both models loaded; its own interval, where it has one, is added in
    quadrature (it is common to all blocks). Seconds are those between the meter's two readings.
    """
    idle = row.record.idle.get("both")
    windows = [window for window in answered(row.record, who) if window.tokens]
    if row.energy.value is None:
        return missing("J/token", row.energy.reason or NO_COMMON_IDLE)
    if idle is None or idle.value is None:
        return missing("J/token", (idle.reason if idle else None) or NO_COMMON_IDLE)
    spans = [(window.energy[0], window.tokens) for window in windows if window.energy]
    if not spans:
        return missing("J/token", "no valid block has joules")
    seconds = [(span.end_s - span.start_s) / tokens for span, tokens in spans]
    joules = [(span.end_j - span.start_j) / tokens for span, tokens in spans]
    rest = [energy - idle.value * time_s for energy, time_s in zip(joules, seconds, strict=True)]
    provenance = weakest([row.energy.provenance, idle.provenance])
    found = as_quantity(mean_interval(rest), "J/token", provenance)
    return doubted(found, half_width(idle) * sum(seconds) / len(seconds), idle)


def above_idle_ratio(row: Row) -> Quantity:
    """Candidate over baseline, paired by block; of several sessions, that of their mean."""
    known = above_idle(row)
    if known.value is None:
        return missing("ratio", known.reason or NO_COMMON_IDLE)
    return of_sessions(row, ratio_above_idle, ratio=True)


def ratio_above_idle(record: Record) -> Quantity:
    """Joules per token above idle power, candidate over baseline, paired by block."""
    idle = resting_power(record.idle)
    if idle.value is None:
        return missing("ratio", NO_IDLE)

    ratio = partial(ratio_of, record)

    def at(idle_w: float) -> Quantity:
        before, after = (per_token(record, who, idle_w) for who in WHO)
        return over(before, after, source(record.windows), ratio)

    return moved(at(idle.value), at, idle)


def moved(found: Quantity, at: Callable[[float], Quantity], idle: Quantity) -> Quantity:
    """`found` with the doubt of `idle`, `at` whose ends it is moved."""
    if found.value is None or idle.value is None:
        return found
    ends = [at(idle.value + sign * half_width(idle)).value for sign in (-1, 1)]
    shift = max((abs(end - found.value) for end in ends if end is not None), default=0.0)
    return doubted(found, shift, idle)


def over(
    before: list[float],
    after: list[float],
    where: Provenance,
    ratio: Callable[..., Interval],
    why: str = NO_BLOCKS,
) -> Quantity:
    if not before or not after:
        return missing("ratio", why)
    if min(*before, *after) <= 0:
        return missing("ratio", BELOW_IDLE)
    return as_quantity(ratio(before, after), "ratio", where)


def per_token(record: Record, who: Who, idle_w: float) -> list[float]:
    """J/token of each valid block, less `idle_w` over its time; empty where a block has no joules."""
    windows = answered(record, who)
    drawn = [joules(window) for window in windows]
    if any(each is None or not w.tokens for each, w in zip(drawn, windows, strict=True)):
        return []
    return [
        ((each or 0.0) - idle_w * seconds_of(w)) / w.tokens
        for each, w in zip(drawn, windows, strict=True)
    ]


def answered(record: Record, who: Who) -> list[Window]:
    """By block, in order."""
    kept = [
        w for w in valid_blocks(record.windows) if w.who == who and w.phase in ANSWERED and w.place
        and w.place.series == "block"
    ]  # fmt: skip
    return sorted(kept, key=lambda window: window.block or 0)


def seconds_of(window: Window) -> float:
    """That its joules are of."""
    return window.energy[0].end_s - window.energy[0].start_s
