"""What a run would save: joules per request from its own blocks, and what they come to in a year."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from greenbench.analysis.blocks import as_quantity, valid_blocks
from greenbench.analysis.energy.promises import break_even
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.impact import HOURS_PER_YEAR, Assumptions, Impact, impact
from greenbench.analysis.readings import joules
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import Who, Window
from greenbench.stats.intervals import mean_interval, paired_ratio

DAYS_PER_YEAR = HOURS_PER_YEAR / 24
NO_JOULES = "no valid block has joules of both"


class Request(NamedTuple):
    """One request as a block's generate window shows it: prompt and answer, averaged over the window."""

    energy_j: float
    seconds: float
    """Of the device: a batch shares its time."""
    tokens: float
    """Generated."""


class Savings(NamedTuple):
    """What so many requests save against the baseline, and what the baseline takes for them."""

    requests: float
    baseline_kwh: Quantity
    energy_kwh: Quantity
    cost: Quantity
    carbon_kg: Quantity


def by_block(record: Record) -> list[tuple[Request, Request]]:
    """Baseline and candidate of each valid block in which both have joules, in block order."""
    batch = record.spec.workload.batch_size
    windows = [w for w in valid_blocks(record.windows) if w.phase == "generate"]
    sides = [_requests(windows, who, batch) for who in ("baseline", "candidate")]
    blocks = sorted(sides[0].keys() & sides[1].keys())
    return [(sides[0][block], sides[1][block]) for block in blocks]


def _requests(windows: list[Window], who: Who, batch: int) -> dict[int, Request]:
    found = {}
    for window in windows:
        energy_j, count = joules(window), window.iterations * batch
        if window.who == who and energy_j is not None and count:
            seconds = sum(window.iteration_s) / count
            found[window.block or 0] = Request(energy_j / count, seconds, window.tokens / count)
    return found


def request_ratio(row: Row) -> Quantity:
    """Candidate over baseline in joules per request, paired by block."""
    pairs = [(before.energy_j, after.energy_j) for before, after in by_block(row.record)]
    if not pairs or min(map(min, pairs)) <= 0:
        return missing("ratio", NO_JOULES)
    before, after = zip(*pairs, strict=True)
    return as_quantity(paired_ratio(before, after), "ratio", row.energy.provenance)


def saved(row: Row, given: Assumptions, requests: float) -> Savings:
    """Savings over `requests` requests: mean of the blocks' differences, with its t interval.

    Carbon is (E x I) + M (ISO/IEC 21031), so a faster run also sheds its share of making the device.
    """

    def over(pick: Callable[[Impact, Impact], float], unit: str) -> Quantity:
        values = [
            requests * pick(*(impact(side.energy_j, side.seconds, given) for side in pair))
            for pair in by_block(row.record)
        ]
        if not values:
            return missing(unit, NO_JOULES)
        return as_quantity(mean_interval(values), unit, row.energy.provenance)

    return Savings(
        requests,
        over(lambda before, _: before.energy_kwh, "kWh"),
        over(lambda before, after: before.energy_kwh - after.energy_kwh, "kWh"),
        over(lambda before, after: before.cost - after.cost, given.currency),
        over(lambda before, after: (before.carbon_g - after.carbon_g) / 1000, "kg CO2e"),
    )


def payback_days(row: Row, requests_per_day: float) -> Quantity:
    """Days until the saving has paid for the joules of the preparation."""
    tokens, pairs = break_even(row), by_block(row.record)
    if tokens.value is None or not pairs:
        return missing("day", tokens.reason or NO_JOULES)
    per_request = sum(after.tokens for _, after in pairs) / len(pairs)
    return tokens.scaled(1 / (per_request * requests_per_day), "day")
