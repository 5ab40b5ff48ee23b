"""Carbon, cost and water beside the joules, and what they would be elsewhere. All of it assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from greenbench.analysis.energy.per_request import always_on_token, by_block
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.impact import Assumptions, Impact, grids, impact
from greenbench.report.markdown.format import Column, Notes, code, prose, run_name, show, table
from greenbench.schema.metrics import TOKENS_PER_S
from greenbench.schema.quantity import Quantity
from greenbench.wording import ESTIMATE, fixed, number

MILLION = 1_000_000
QUERIES = 1000
REGIONS = ("FRA", "USA", "IND")
PUES = (1.1, 1.56)
Pick = Callable[[Impact], float]
PER_QUERIES: Final[dict[str, tuple[str, Pick]]] = {
    "queries_energy": ("Wh", lambda i: 1000 * i.energy_kwh),
    "queries_carbon": ("g CO₂e", lambda i: i.carbon_g),
    "queries_cost": ("", lambda i: i.cost),
    "queries_water": ("l", lambda i: i.water_l),
}
"""Impacts of `QUERIES` queries with their units; that of the cost is the currency."""


def impacts(groups: Sequence[Group], given: Assumptions) -> list[str]:
    """A table per group and a what-if table; nothing where no joules were counted."""
    known = [
        (index, group)
        for index, group in enumerate(groups, start=1)
        if any(row.energy.value is not None for row in group.rows)
    ]
    if not known:
        return []
    lines = [assumed(given), ""]
    for index, group in known:
        lines += [f"{index}. {prose(group.setting.title)}", "", *table(group.rows, _columns(given))]
        lines += _busy_only(group.rows)
        lines += ["", *table(group.rows, _what_if(given)), ""]
    return lines


def assumed(given: Assumptions) -> str:
    """One line of markdown: what stands behind all impacts but the joules."""
    grid = given.grid
    return (
        "Joules are those of each run; all else here is **assumed** (`conf/impact`, "
        "`greenbench report --impact KEY=VALUE`): electricity of "
        f"{prose(grid.country)} in {grid.year}, {number(grid.g_per_kwh)} g CO₂e/kWh (Ember, CC BY "
        f"4.0); PUE {given.pue:g}; {given.price_per_kwh:g} {prose(given.currency)}/kWh; "
        f"{given.water_l_per_kwh:g} l of water per kWh on site; {given.embodied_kg:g} kg CO₂e to "
        f"make the device, spread over {given.lifetime_years:g} years of use; "
        f"{given.tokens_per_query} generated tokens a query. Carbon is (E × I) + M per unit "
        "(ISO/IEC 21031). Intervals are the joules' alone. Joules are **always-on**, of a device that makes "
        "as many tokens as a busy baseline: idle power counts for time that a technique frees, and is taken "
        "off for what it takes longer, so the difference of two rows is what a device that stays on saves."
    )


def _busy_only(rows: Sequence[Row]) -> list[str]:
    """Which of `rows` are no device that stays on, and why."""
    known = [(row, always_on_token(row)) for row in rows if row.energy.value is not None]
    found = [f"{run_name(row)} ({prose(on.reason)})" for row, on in known if on.value is None]
    if not found:
        return []
    return [
        "",
        f"Of a busy device alone, with no idle power for time that is freed: {'; '.join(found)}.",
    ]


def per_queries(row: Row, given: Assumptions) -> dict[str, Quantity]:
    """The impacts `PER_QUERIES` of `row`, each with its unit."""
    tokens = QUERIES * given.tokens_per_query
    return {
        name: _of(row, tokens, pick, given).model_copy(update={"unit": unit or given.currency})
        for name, (unit, pick) in PER_QUERIES.items()
    }


def _of(row: Row, tokens: float, pick: Pick, given: Assumptions) -> Quantity:
    """One impact of `tokens` generated tokens, with the interval of the joules."""
    energy = always_on_token(row)
    stays_on = energy.value is not None
    energy = energy if stays_on else row.energy
    seconds = tokens * _device_s(row, stays_on)

    def at(joules: float) -> float:
        return pick(impact(joules * tokens, seconds, given))

    interval = energy.bounds
    return energy.model_copy(
        update={
            "value": None if energy.value is None else at(energy.value),
            "low": at(interval[0]) if interval else None,
            "high": at(interval[1]) if interval else None,
        }
    )


def _device_s(row: Row, stays_on: bool) -> float:
    """Seconds of the device that one token takes: under load of its whole time, at rest as at work; on one
    that stays on those of a busy baseline, as what is freed is shed to no one."""
    if row.record.load is None:
        pace = (row.baseline if stays_on else row.metrics).get(TOKENS_PER_S.name)
        return 1 / pace.value if pace and pace.value else 0.0
    each = [after.per_token for _, after in by_block(row.record)]
    return sum(one.seconds + (one.waits_s or 0.0) for one in each) / max(len(each), 1)


def _cell(tokens: float, pick: Pick, given: Assumptions, row: Row, notes: Notes) -> str:
    return show(_of(row, tokens, pick, given), notes)


def _columns(given: Assumptions) -> list[Column[Row]]:
    query = QUERIES * given.tokens_per_query
    energy, carbon, cost, water = (pick for _, pick in PER_QUERIES.values())

    def column(title: str, tokens: float, pick: Pick) -> Column[Row]:
        return Column(title, partial(_cell, tokens, pick, given))

    return [
        Column("technique", lambda row, _: run_name(row)),
        column(f"Wh per {QUERIES:,} queries", query, energy),
        column("g CO₂e", query, carbon),
        Column("of it embodied", lambda row, _: _embodied(row, query, given)),
        column(f"{prose(given.currency)}", query, cost),
        column("l water", query, water),
        column("kWh per million tokens", MILLION, lambda i: i.energy_kwh),
        column("kg CO₂e per million tokens", MILLION, lambda i: i.carbon_g / 1000),
    ]


def _embodied(row: Row, tokens: float, given: Assumptions) -> str:
    whole = _of(row, tokens, lambda i: i.carbon_g, given).value
    part = _of(row, tokens, lambda i: i.embodied_g, given).value
    if not whole or part is None:
        return "n/a"
    mark = ESTIMATE if row.energy.is_estimate else ""
    return f"{mark}{fixed(100 * part / whole, 0)} %"


def _what_if(given: Assumptions) -> list[Column[Row]]:
    """Kilograms of CO2e per million tokens in other places and buildings."""
    columns: list[Column[Row]] = [
        Column("kg CO₂e per million tokens in", lambda row, _: code(row.label))
    ]
    for region in REGIONS:
        for pue in PUES:
            elsewhere = replace(given, country=region, pue=pue)
            title = f"{grids()[region].country}, PUE {pue:g}"
            pick = partial(_cell, MILLION, lambda i: i.carbon_g / 1000, elsewhere)
            columns.append(Column(title, pick))
    return columns
