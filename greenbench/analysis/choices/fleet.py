"""How many devices serve a rate within limits and what they draw: baseline against candidate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, floor
from typing import NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.choices.advice import with_changes
from greenbench.analysis.choices.service import Limits, is_at_rates, judged, serves, to_measure
from greenbench.analysis.energy.at_rate import Curve, curve
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.idle import doubted, half_width, resting_power
from greenbench.analysis.impact import HOURS_PER_YEAR, Assumptions, impact
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.window import WHO
from greenbench.stats.intervals import mean_interval

NEARLY = 1e-9  # 40 / 0.1 is 400, and not a little more
NO_JOULES = "no valid block has joules at that rate"


class Demand(NamedTuple):
    """What is to be served."""

    rate: float
    """Requests per second."""
    limits: Limits = Limits()


class Devices(NamedTuple):
    """Those that serve the rate with one of the two models, each its even share."""

    serves: Quantity
    """Requests per second that one serves within the limits."""
    needed: Quantity
    """The fewest, by the most that one was seen to serve; its interval is that one's."""
    power: Quantity
    """Watts of all; its interval is of blocks, of idle power, and of how many."""


class Fleet(NamedTuple):
    """Both models at one rate."""

    row: Row
    judged: str
    """By what a rate counts as served."""
    baseline: Devices
    candidate: Devices
    saved: Quantity
    """Watts that the candidate's devices draw less than the baseline's."""
    energy_kwh: Quantity
    """That in a year, at the building's meter; cost and carbon follow from it, without making the devices."""
    cost: Quantity
    carbon_kg: Quantity
    not_shown: str | None
    """Why no difference is shown; null: it is."""


class _Draw(NamedTuple):
    """What so many devices draw."""

    by_block: dict[int, float]
    per_watt: float
    """Of idle power."""


class _Side(NamedTuple):
    """What is known of one model's devices."""

    serves: Quantity
    counts: tuple[int, ...]
    """The fewest by the best guess, then the ends of what is not excluded."""
    draws: tuple[_Draw, ...]
    """Of as many."""


def fleets(
    found: Sequence[Group], demand: Demand, given: Assumptions
) -> list[tuple[Group, list[Fleet]]]:
    """Of each group with runs of techniques under load at rates, theirs."""
    known = [
        (group, [row for row in group.rows if not row.is_baseline and is_at_rates(row.record)])
        for group in found
    ]
    return [(group, [fleet(row, demand, given) for row in rows]) for group, rows in known if rows]


def first_command(found: Sequence[Group], demand: Demand) -> str:
    """The command that measures a technique of `found`, or any, under load up to saturation."""
    known = [row for group in found for row in group.rows if not row.is_baseline]
    command = known[0].record.command if known else "greenbench bench technique=int8_bnb"
    return with_changes(command, to_measure(command, demand.limits))


def fleet(row: Row, demand: Demand, given: Assumptions) -> Fleet:
    """What serves `demand` by the run of `row`, measured under load.

    A device's share lies between measured rates, or between idle and the first; where fewer devices than were
    seen to serve it are not excluded, beyond the last.
    """
    idle = resting_power(row.record.idle)
    sides = [
        _side(curve(row.record, who), serves(row.record, who, demand.limits), demand.rate, idle)
        for who in WHO
    ]
    before, after = (_devices(row, side, idle) for side in sides)
    saved = _saved(row, sides, idle)
    year = impact(HOURS_PER_YEAR * 3600, 0.0, given)
    return Fleet(
        row=row,
        judged=judged(row.record, demand.limits),
        baseline=before,
        candidate=after,
        saved=saved,
        energy_kwh=saved.scaled(year.energy_kwh, "kWh"),
        cost=saved.scaled(year.cost, given.currency),
        carbon_kg=saved.scaled(year.operational_g / 1000, "kg CO2e"),
        not_shown=_not_shown(row, [before, after], saved),
    )


def _side(line: Curve, most: Quantity, rate: float, idle: Quantity) -> _Side:
    if most.value is None:
        return _Side(most, (), ())
    counts = [_enough(rate, most.value), *_ends(rate, most)]
    shares = [rate / count for count in counts]
    if not line.rates or not any(line.paces):
        return _Side(most, tuple(counts), ())
    if idle.value is None and min(shares) < line.rates[0]:
        return _Side(most, tuple(counts), ())
    draws = []
    for count, share in zip(counts, shares, strict=True):
        one = _draw(line, share, idle)
        drawn = {block: count * power_w for block, power_w in one.by_block.items()}
        draws.append(_Draw(drawn, count * one.per_watt))
    return _Side(most, tuple(counts), tuple(draws))


def _draw(line: Curve, share: float, idle: Quantity) -> _Draw:
    """What one device draws at `share`.

    Beyond the last rate that it kept up with, each request more takes what one took there above idle power,
    or, where that is not known, what it took in all: a guess, and without an interval.
    """
    last, rest_w = line.rates[-1], idle.value or 0.0
    paces, weight = line.at(min(share, last), rest_w)
    more = max(share - last, 0.0) / last
    by_block = {
        block: pace.power_w + more * (pace.power_w - rest_w) for block, pace in paces.items()
    }
    return _Draw(by_block, weight - more)


def _ends(rate: float, most: Quantity) -> tuple[int, ...]:
    """The fewest and the most that it may take; one is no fewer, whatever else it could serve."""
    if most.low is not None and _enough(rate, most.low) == 1:
        return 1, 1
    if most.low is None or most.high is None:
        return ()
    return floor(rate / most.high + NEARLY) + 1, _enough(rate, most.low)


def _enough(rate: float, each: float) -> int:
    """The fewest that serve `rate` if each serves so many."""
    return max(ceil(rate / each - NEARLY), 1)


def _devices(row: Row, side: _Side, idle: Quantity) -> Devices:
    why = side.serves.reason or NO_JOULES
    if not side.counts:
        return Devices(side.serves, missing("devices", why), missing("W", why))
    known = len(side.counts) > 1
    needed = Quantity(
        value=side.counts[0],
        unit="devices",
        provenance=side.serves.provenance,
        n=side.serves.n,
        low=side.counts[1] if known else None,
        high=side.counts[2] if known else None,
        reason=None if known else side.serves.reason,
    )
    if not all(draw.by_block for draw in side.draws) or not side.draws:
        return Devices(side.serves, needed, missing("W", _no_power(row, idle)))
    ends = [_mean(row, list(draw.by_block.values()), draw.per_watt, idle) for draw in side.draws]
    return Devices(side.serves, needed, _spanned(ends))


def _no_power(row: Row, idle: Quantity) -> str:
    if row.energy.value is None:
        return row.energy.reason or NO_JOULES
    return (idle.reason if idle.value is None else None) or NO_JOULES


def _mean(row: Row, watts: Sequence[float], per_watt: float, idle: Quantity) -> Quantity:
    found = as_quantity(mean_interval(watts), "W", row.energy.provenance)
    return doubted(found, half_width(idle) * per_watt, idle) if per_watt else found


def _spanned(found: Sequence[Quantity]) -> Quantity:
    """The first, with an interval that holds those of all, or none where one of them has none."""
    without = [each for each in found if each.bounds is None]
    if without:
        why = {"low": None, "high": None, "reason": without[0].reason}
        return found[0].model_copy(update=why)
    known = [each.bounds for each in found if each.bounds]
    low, high = min(low for low, _ in known), max(high for _, high in known)
    return found[0].model_copy(update={"low": low, "high": high})


def _saved(row: Row, sides: Sequence[_Side], idle: Quantity) -> Quantity:
    """Paired by block, for the best guess of both counts and for all ends of them."""
    found = [
        _mean(row, watts, before.per_watt - after.per_watt, idle)
        for before, after in product(*(side.draws for side in sides))
        if (watts := [before.by_block[block] - after.by_block[block]
                      for block in sorted(before.by_block.keys() & after.by_block.keys())])
    ]  # fmt: skip
    if not found:
        return missing("W", "what one of the two draws is not known")
    return _spanned(found)


def _not_shown(row: Row, both: Sequence[Devices], saved: Quantity) -> str | None:
    for who, devices in zip(WHO, both, strict=True):
        if devices.needed.bounds is None:
            return f"what one device of the {who} serves: {devices.serves.reason}"
        if devices.power.value is None:
            return f"what the devices of the {who} draw: {devices.power.reason}"
    if saved.is_estimate:
        return "the joules are estimates, which are never ranked"
    if row.record.spec.protocol.tier == "smoke":
        return "tier smoke makes no claims"
    if saved.bounds is None:
        return saved.reason or "one block has no interval"
    low, high = saved.bounds
    return "the interval holds 0" if low <= 0 <= high else None
