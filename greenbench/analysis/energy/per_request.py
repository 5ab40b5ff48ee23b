"""What one request takes, by block, and what it saves in three cases: always-on, shared, switched off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from greenbench.analysis.blocks import as_quantity, ratio_of, taken, valid_blocks
from greenbench.analysis.energy.at_rate import beyond, curve
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.idle import doubted, half_width, resting_power
from greenbench.analysis.readings import ANSWERED, joules
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import (
    Interval,
    geometric_mean,
    mean_interval,
    paired_difference,
)

NO_JOULES = "no valid block has joules of both"
Basis = Literal["always-on", "shared", "switched off when idle"]
"""What becomes of the time that a faster model frees.

``always-on``: the device idles on, so a request saves its joules less idle power times the seconds that it
frees. ``shared``: others use that time; all joules count, and making the device is shed with the time.
``switched off when idle``: all joules count.
"""
ALWAYS_ON: Final = "always-on"
SHARED: Final = "shared"
OFF: Final = "switched off when idle"
BASES: Final[tuple[Basis, ...]] = (ALWAYS_ON, SHARED, OFF)


class Request(NamedTuple):
    """One request as a block's window shows it: prompt and answer, averaged over the window."""

    energy_j: float
    seconds: float
    """Of the device at work: a batch shares its time."""
    tokens: float
    """Generated."""
    waits_s: float | None = None
    """Under load, seconds of the device at rest, whose joules are among the request's; else null."""

    @property
    def per_token(self) -> Request:
        """Of it, the part of one token."""
        waits_s = None if self.waits_s is None else self.waits_s / self.tokens
        return Request(self.energy_j / self.tokens, self.seconds / self.tokens, 1.0, waits_s)


class Counted(NamedTuple):
    """What of a request counts: two models' differ by what one saves."""

    joules: float
    """Were idle power 0."""
    per_watt: float
    """Joules more for each watt of idle power; below 0 where the device would idle in its time."""
    seconds: float
    """Of the device, that others could use."""


def by_block(record: Record, rate: float | None = None) -> list[tuple[Request, Request]]:
    """Baseline and candidate of each valid block in which both have joules, in block order.

    Under load they are of the run's own load, or of `rate`, in requests per second.
    """
    if rate is not None and record.load is not None:
        return _at_rate(record, rate)
    batch = record.spec.workload.batch_size
    windows = [w for w in valid_blocks(record.windows) if w.phase in ANSWERED]
    sides = [_requests(windows, who, batch) for who in ("baseline", "candidate")]
    blocks = sorted(sides[0].keys() & sides[1].keys())
    return [(sides[0][block], sides[1][block]) for block in blocks]


def _requests(windows: list[Window], who: Who, batch: int) -> dict[int, Request]:
    read = ((w.block or 0, _under_load(w) if w.traffic else _closed(w, batch))
            for w in windows if w.who == who)  # fmt: skip
    return {block: request for block, request in read if request}


def _closed(window: Window, batch: int) -> Request | None:
    energy_j, count = joules(window), window.iterations * batch
    if energy_j is None or not count or not window.tokens:
        return None
    return Request(energy_j / count, sum(window.iteration_s) / count, window.tokens / count)


def _under_load(window: Window) -> Request | None:
    energy_j, traffic = joules(window), window.traffic
    if energy_j is None or traffic is None or not traffic.requests or not window.tokens:
        return None
    count, whole_s = traffic.requests, window.end_s - window.start_s
    busy_s = traffic.busy * whole_s
    return Request(
        energy_j / count, busy_s / count, window.tokens / count, (whole_s - busy_s) / count
    )


def _at_rate(record: Record, rate: float) -> list[tuple[Request, Request]]:
    """Empty where either model was not seen to keep up with so many."""
    idle_w = resting_power(record.idle).value
    if beyond(record, rate):
        return []
    curves = [curve(record, who) for who in WHO]
    if idle_w is None and any(rate < each.rates[0] for each in curves):
        return []
    sides = [
        {
            block: Request(
                pace.power_w / rate,
                pace.busy / rate,
                pace.tokens_per_s / rate,
                (1 - pace.busy) / rate,
            )
            for block, pace in each.at(rate, idle_w or 0.0)[0].items()
        }
        for each in curves
    ]
    return [
        (sides[0][block], sides[1][block]) for block in sorted(sides[0].keys() & sides[1].keys())
    ]


def of_sessions(row: Row, each: Callable[[Record], Quantity], *, ratio: bool = False) -> Quantity:
    """Of the only session, or the mean of all, with Student's t interval of what they show; of a `ratio` in
    logarithms. Unknown of one, it is of all."""
    found = [each(record) for record in row.sessions or (row.record,)]
    unknown = next((one for one in found if one.value is None), None)
    if unknown or len(found) == 1:
        return unknown or found[0]
    values = [one.value for one in found if one.value is not None]
    mean = geometric_mean(values) if ratio else mean_interval(values)
    return as_quantity(mean, found[0].unit, found[0].provenance)


def request_ratio(row: Row, rate: float | None = None) -> Quantity:
    """Candidate over baseline in joules per request, paired by block; `rate` counts under load alone."""

    def each(record: Record) -> Quantity:
        pairs = [(before.energy_j, after.energy_j) for before, after in by_block(record, rate)]
        if not pairs or min(map(min, pairs)) <= 0:
            return missing("ratio", NO_JOULES)
        before, after = zip(*pairs, strict=True)
        found = ratio_of(record, before, after)
        return as_quantity(found, "ratio", row.energy.provenance)

    return of_sessions(row, each, ratio=True)


def difference_of(record: Record, before: Sequence[float], after: Sequence[float]) -> Interval:
    """Mean of what the blocks' `after` are above `before`, with an interval that pays as a ratio's does."""
    return paired_difference(before, after, *taken(record, len(before)))


def counted(request: Request, basis: Basis) -> Counted:
    """Of one request. Under load its joules hold idle power already, at the same rate for both models."""
    if request.waits_s is not None:
        idle_s = 0.0 if basis == ALWAYS_ON else request.waits_s
    else:
        idle_s = request.seconds if basis == ALWAYS_ON else 0.0
    return Counted(request.energy_j, -idle_s, request.seconds if basis == SHARED else 0.0)


def saving(
    row: Row,
    basis: Basis,
    of: Callable[[float, float], float] = lambda energy_j, _: energy_j,
    unit: str = "J/request",
    *,
    per_token: bool = False,
    rate: float | None = None,
) -> Quantity:
    """Mean over blocks of what a request, or a token, saves; its interval is of blocks and of idle power.

    `of` makes it another quantity, of the joules saved and the seconds freed, linear in both. `rate`, of one
    device in requests per second, counts under load alone.
    """

    def each(record: Record) -> Quantity:
        pairs = by_block(record, rate)
        if per_token:
            pairs = [(before.per_token, after.per_token) for before, after in pairs]
        if not pairs:
            return missing(unit, NO_JOULES)
        sides = [[counted(request, basis) for request in side] for side in zip(*pairs, strict=True)]
        idle, counts = resting_power(record.idle), any(c.per_watt for side in sides for c in side)
        if counts and idle.value is None:
            return missing(unit, idle.reason or "idle power is not known")
        power_w = (idle.value or 0.0) if counts else 0.0
        less = [
            [-of(each.joules + power_w * each.per_watt, each.seconds) for each in side]
            for side in sides
        ]
        found = as_quantity(difference_of(record, *less), unit, row.energy.provenance)
        if not counts:
            return found
        per_watt = [sum(each.per_watt for each in side) / len(side) for side in sides]
        return doubted(found, half_width(idle) * of(per_watt[0] - per_watt[1], 0.0), idle)

    return of_sessions(row, each)


def always_on_token(row: Row) -> Quantity:
    """Joules of the candidate's token on a device that stays on and makes as many as a busy baseline.

    They are its own and those of idling through the time that it frees, less through what it takes longer:
    so the baseline's less these is what `saving` says. Under load its joules hold idle power already.
    """
    if row.record.load is not None:
        return row.energy

    def each(record: Record) -> Quantity:
        pairs = [(before.per_token, after.per_token) for before, after in by_block(record)]
        idle = resting_power(record.idle)
        if not pairs or idle.value is None:
            why = (idle.reason or "idle power is not known") if pairs else NO_JOULES
            return missing(row.energy.unit, why)
        freed_s = [before.seconds - after.seconds for before, after in pairs]
        idled = [-idle.value * before.seconds for before, _ in pairs]
        own = [after.energy_j - idle.value * after.seconds for _, after in pairs]
        found = as_quantity(
            difference_of(record, idled, own), row.energy.unit, row.energy.provenance
        )
        return doubted(found, half_width(idle) * sum(freed_s) / len(freed_s), idle)

    return of_sessions(row, each)


def seconds_per_token(record: Record, who: Who) -> Quantity:
    """Of the device at work, by the clock, mean over the blocks in which both have joules."""
    pairs = by_block(record)
    if not pairs:
        return missing("s/token", NO_JOULES)
    values = [pair[WHO.index(who)].per_token.seconds for pair in pairs]
    return as_quantity(mean_interval(values), "s/token", "measured:clock")


def seconds_per_request(record: Record) -> tuple[float, float] | None:
    """Of baseline and candidate, at work, mean over blocks; null without joules of both."""
    pairs = by_block(record)
    if not pairs:
        return None
    before, after = (sum(pair[side].seconds for pair in pairs) / len(pairs) for side in (0, 1))
    return before, after
