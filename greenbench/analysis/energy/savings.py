"""What a run would save in a year, in three cases, and when its preparation has paid back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.energy.at_rate import beyond
from greenbench.analysis.energy.per_request import (
    ALWAYS_ON,
    NO_JOULES,
    Basis,
    Request,
    by_block,
    of_sessions,
    saving,
    seconds_per_request,
)
from greenbench.analysis.energy.promises import paid_back
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.idle import doubted, half_width, resting_power
from greenbench.analysis.impact import HOURS_PER_YEAR, Assumptions, Impact, impact
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.stats.intervals import mean_interval
from greenbench.wording import number

DAYS_PER_YEAR = HOURS_PER_YEAR / 24
DAY_S = 86400.0


class Savings(NamedTuple):
    """What so many requests save against the baseline, and what the baseline takes for them."""

    basis: Basis
    requests: float
    baseline_kwh: Quantity
    """Always-on, with the idle power of the whole time, where that is known."""
    energy_kwh: Quantity
    cost: Quantity
    carbon_kg: Quantity


def saved(
    row: Row,
    given: Assumptions,
    requests: float,
    basis: Basis = ALWAYS_ON,
    days: float | None = None,
) -> Savings:
    """Savings over `requests` requests: mean of the blocks' differences, with its t interval.

    Carbon is (E x I) + M (ISO/IEC 21031): where the device is shared, a faster run also sheds its share of
    making it. `days`: the requests come within so many, on one device; what does not fit saves nothing
    that these runs show.
    """
    given = given.on(row.record.spec.device.kind)
    crowded = too_many(row, requests / days, basis) if days else None
    rate = requests / days / DAY_S if days else None

    def over(pick: Callable[[Impact], float], unit: str) -> Quantity:
        if crowded:
            return missing(unit, crowded)
        return saving(
            row, basis, lambda j, s: requests * pick(impact(j, s, given)), unit, rate=rate
        )

    return Savings(
        basis,
        requests,
        missing("kWh", crowded) if crowded else _baseline(row, given, requests, basis, days),
        over(lambda found: found.energy_kwh, "kWh"),
        over(lambda found: found.cost, given.currency),
        over(lambda found: found.carbon_g / 1000, "kg CO2e"),
    )


def _baseline(
    row: Row, given: Assumptions, requests: float, basis: Basis, days: float | None
) -> Quantity:
    """What the baseline takes: the joules of the answers, and always-on those of the rest of the time."""
    kwh = impact(1.0, 0.0, given).energy_kwh

    def each(record: Record) -> Quantity:
        pairs = by_block(record, requests / days / DAY_S if days else None)
        if not pairs:
            return missing("kWh", NO_JOULES)
        mine, idle = [before for before, _ in pairs], resting_power(record.idle)
        rest_s = [_rest_s(before, requests, basis, days) for before in mine]
        if any(rest_s) and idle.value is None:
            return missing("kWh", idle.reason or "idle power is not known")
        values = [kwh * (requests * r.energy_j + (idle.value or 0.0) * s)
                  for r, s in zip(mine, rest_s, strict=True)]  # fmt: skip
        found = as_quantity(mean_interval(values), "kWh", row.energy.provenance)
        if not any(rest_s):
            return found
        return doubted(found, kwh * half_width(idle) * sum(rest_s) / len(rest_s), idle)

    return of_sessions(row, each)


def _rest_s(request: Request, requests: float, basis: Basis, days: float | None) -> float:
    """Seconds of idle power to be added to the requests' joules, or, below 0, taken out of them."""
    if request.waits_s is None:
        return days * DAY_S - requests * request.seconds if days and basis == ALWAYS_ON else 0.0
    return 0.0 if basis == ALWAYS_ON else -requests * request.waits_s


def too_many(row: Row, requests_per_day: float, basis: Basis) -> str | None:
    """Why these runs do not say what so many a day save; null: they do.

    More than fit into one device's day leave it no idle time; under load, more than it kept up with.
    """
    if row.record.load is not None:
        return beyond(row.record, requests_per_day / DAY_S)
    takes = seconds_per_request(row.record) if basis == ALWAYS_ON else ()
    for who, seconds in zip(("baseline", "candidate"), takes or (), strict=False):
        hours = requests_per_day * seconds / 3600
        if hours > 24:
            return (
                f"{requests_per_day:,.10g} requests take the {who} {number(hours)} hours a day: more than "
                "one device has, so idle time says nothing of them"
            )
    return None


def payback_days(row: Row, requests_per_day: float, basis: Basis = ALWAYS_ON) -> Quantity:
    """Days until the saving has paid for the joules of the preparation."""
    crowded = too_many(row, requests_per_day, basis)
    if crowded:
        return missing("day", crowded)
    rate = requests_per_day / DAY_S
    return paid_back(
        row, saving(row, basis, lambda j, _: requests_per_day * j, "J/day", rate=rate), "day"
    )
