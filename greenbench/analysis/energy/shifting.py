"""What a load that can wait emits less in the cleanest hours of the day. All but its joules assumed."""

from __future__ import annotations

from math import fsum
from statistics import fmean
from typing import Final, NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.energy.grid_by_hour import DAY, GridByHour, Hour
from greenbench.analysis.energy.per_request import (
    NO_JOULES,
    always_on_token,
    by_block,
    difference_of,
    of_sessions,
)
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.idle import doubted, half_width, resting_power
from greenbench.analysis.impact import J_PER_KWH
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record

UNIT: Final = "g CO2e"
ARRIVES: Final = "its requests were answered as they arrived, and did not wait"


class Shift(NamedTuple):
    """A load that needs so many `hours` of each day: grams of CO2e per kWh of the device, PUE in them."""

    hours: int
    spread_g: float
    """At any time: mean of all hours."""
    cleanest_g: float
    """In the cleanest hours of each day."""
    fixed_g: float
    """In the same hours each day, ..."""
    fixed: tuple[int, ...]
    """... those that are the cleanest on average, from 0 to 23."""

    @property
    def saved(self) -> float:
        """Share that the cleanest hours of each day save."""
        return _less(self.cleanest_g, self.spread_g)

    @property
    def saved_fixed(self) -> float:
        """Share that the same hours each day save."""
        return _less(self.fixed_g, self.spread_g)


def _less(part: float, whole: float) -> float:
    return max(0.0, 1 - part / whole) if whole else 0.0


def mean_day(grid: GridByHour) -> list[Hour]:
    """Mean of each hour of the day over all days."""
    return [
        Hour(
            fmean(hour.g_per_kwh for hour in hours),
            fmean(hour.pue or 1.0 for hour in hours) if grid.has_pue else None,
        )
        for hours in zip(*grid.days, strict=True)
    ]


def shift(grid: GridByHour, pue: float, hours: int) -> Shift:
    """Mean of the `hours` cleanest hours of each day against the day's mean, as if all were known beforehand.

    Clean is what emits the least per kWh of the device, by intensity times PUE; `pue` counts where the file
    has none.
    """
    days = [[hour.g_per_kwh * (hour.pue or pue) for hour in day] for day in grid.days]
    by_hour = [fmean(each) for each in zip(*days, strict=True)]
    fixed = sorted(range(DAY), key=lambda hour: (by_hour[hour], hour))[:hours]
    return Shift(
        hours=hours,
        spread_g=fmean(by_hour),
        cleanest_g=fmean(fsum(sorted(day)[:hours]) / hours for day in days),
        fixed_g=fmean(by_hour[hour] for hour in fixed),
        fixed=tuple(sorted(fixed)),
    )


def spread_carbon(row: Row, tokens: float, by: Shift) -> Quantity:
    """Of the electricity of `tokens` tokens at any time of the day, on a device that stays on."""
    return always_on_token(row).scaled(tokens * by.spread_g / J_PER_KWH, UNIT)


def shifted_carbon(row: Row, tokens: float, by: Shift) -> Quantity:
    """The same in the cleanest hours: what it draws above idle moves there, and idle power stays all day.

    Its interval is that of blocks and of idle power; the hours have none.
    """
    if row.record.load is not None:
        return missing(UNIT, ARRIVES)
    stays = 1 - by.saved

    def each(record: Record) -> Quantity:
        pairs = [(before.per_token, after.per_token) for before, after in by_block(record)]
        idle = resting_power(record.idle)
        if not pairs or idle.value is None:
            return missing(UNIT, (idle.reason or "idle power is not known") if pairs else NO_JOULES)
        idle_s = [before.seconds - stays * after.seconds for before, after in pairs]
        idled = [-idle.value * before.seconds for before, _ in pairs]
        own = [stays * (after.energy_j - idle.value * after.seconds) for _, after in pairs]
        found = as_quantity(difference_of(record, idled, own), UNIT, row.energy.provenance)
        return doubted(found, half_width(idle) * sum(idle_s) / len(idle_s), idle)

    return of_sessions(row, each).scaled(tokens * by.spread_g / J_PER_KWH, UNIT)
