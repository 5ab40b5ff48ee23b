"""Carbon, cost and water beside the joules, and what they would be elsewhere. All of it assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from greenbench.analysis.energy.per_request import always_on_token, by_block, seconds_per_token
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.impact import HOURS_PER_YEAR, Assumptions, Impact, grids, impact
from greenbench.report.markdown.format import Column, Notes, code, prose, run_name, show, table
from greenbench.report.markdown.savings import making
from greenbench.schema.metrics import TOKENS_PER_S
from greenbench.schema.quantity import Quantity, missing
from greenbench.wording import ESTIMATE, fixed, number

MILLION = 1_000_000
QUERIES = 1000
REGIONS = ("FRA", "USA", "IND")
PUES = (1.1, 1.56)
Pick = Callable[[Impact], float]
PER_QUERIES: Final[dict[str, tuple[str, Pick]]] = {
    "queries_energy": ("Wh", lambda i: 1000 * i.energy_kwh),
    "queries_carbon": ("g CO₂e", lambda i: i.carbon_g),
    "queries_embodied": ("g CO₂e", lambda i: i.embodied_g),
    "queries_cost": ("", lambda i: i.cost),
    "queries_water": ("l", lambda i: i.water_l),
}
"""Impacts of `QUERIES` queries with their units; that of the cost is the currency."""
UTILISATIONS: Final = (0.05, 0.2, 0.5, 1.0)
NOT_CHARGED: Final = (
    "what making this machine takes is not known, and an accelerator's is not charged to a CPU, so carbon "
    "is that of electricity alone: --impact embodied_cpu_kg=KG adds it"
)
MAKING: Final = (
    "Making it is M = TE × TiR ÷ EL (ISO/IEC 21031): its kilograms, times the seconds reserved, over all of "
    "its life. Seconds at work are measured, and time without work is reserved in proportion, all else "
    "**assumed**. What is bought anyway has been made, whatever runs on it: only where others use the time "
    "that a technique frees is less charged to it."
)


def impacts(groups: Sequence[Group], given: Assumptions) -> list[str]:
    """A table per group and a what-if table; nothing where no joules were counted."""
    known = [
        (index, group)
        for index, group in enumerate(groups, start=1)
        if any(row.energy.value is not None for row in group.rows)
    ]
    if not known:
        return []
    lines, is_told = [assumed(given), ""], False
    for index, group in known:
        lines += [f"{index}. {prose(group.setting.title)}", "", *table(group.rows, _columns(given))]
        lines += _busy_only(group.rows)
        lines += ["", *table(group.rows, _what_if(given)), ""]
        making_it = _making(group.rows, given)
        lines += [*making_it, ""] if making_it else []
        is_told = is_told or bool(making_it)
    return [*lines, MAKING, ""] if is_told else lines


def assumed(given: Assumptions) -> str:
    """One line of markdown: what stands behind all impacts but the joules."""
    grid = given.grid
    return (
        "Joules are those of each run; all else here is **assumed** (`conf/impact`, "
        "`greenbench report --impact KEY=VALUE`): electricity of "
        f"{prose(grid.country)} in {grid.year}, {number(grid.g_per_kwh)} g CO₂e/kWh (Ember, CC BY "
        f"4.0); PUE {given.pue:g}; {given.price_per_kwh:g} {prose(given.currency)}/kWh; "
        f"{given.water_l_per_kwh:g} l of water per kWh on site; {making(given)}; "
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
    found = {
        name: _of(row, tokens, pick, given).model_copy(update={"unit": unit or given.currency})
        for name, (unit, pick) in PER_QUERIES.items()
    }
    if given.made_kg(row.record.spec.device.kind) is None:
        found["queries_embodied"] = missing("g CO₂e", NOT_CHARGED)
    return found


def _of(row: Row, tokens: float, pick: Pick, given: Assumptions) -> Quantity:
    """One impact of `tokens` generated tokens, with the interval of the joules."""
    energy = always_on_token(row)
    stays_on = energy.value is not None
    energy = energy if stays_on else row.energy
    seconds = tokens * _device_s(row, stays_on)
    given = given.on(row.record.spec.device.kind)
    if row.record.load is not None:
        given = replace(given, utilisation=1.0)  # its rest is among its seconds

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
    energy, carbon, _, cost, water = (pick for _, pick in PER_QUERIES.values())

    def column(title: str, tokens: float, pick: Pick) -> Column[Row]:
        return Column(title, partial(_cell, tokens, pick, given))

    return [
        Column("technique", lambda row, _: run_name(row)),
        column(f"Wh per {QUERIES:,} queries", query, energy),
        column("g CO₂e", query, carbon),
        Column("of it embodied", partial(_embodied, query, given)),
        column(f"{prose(given.currency)}", query, cost),
        column("l water", query, water),
        column("kWh per million tokens", MILLION, lambda i: i.energy_kwh),
        column("kg CO₂e per million tokens", MILLION, lambda i: i.carbon_g / 1000),
    ]


def _embodied(tokens: float, given: Assumptions, row: Row, notes: Notes) -> str:
    if given.made_kg(row.record.spec.device.kind) is None:
        return f"n/a {notes.mark(NOT_CHARGED)}"
    whole = _of(row, tokens, lambda i: i.carbon_g, given).value
    part = _of(row, tokens, lambda i: i.embodied_g, given).value
    if not whole or part is None:
        return "n/a"
    mark = ESTIMATE if row.energy.is_estimate else ""
    return f"{mark}{fixed(100 * part / whole, 0)} %"


class _Worker(NamedTuple):
    """Of whom the device is reserved."""

    name: str
    token_s: Quantity


def _making(rows: Sequence[Row], given: Assumptions) -> list[str]:
    """What making the device adds to `QUERIES` queries, by how much of its life it works."""
    made_kg = given.made_kg(rows[0].record.spec.device.kind)
    if not made_kg:
        return []
    tokens = QUERIES * given.tokens_per_query
    grams_per_s = 1000 * made_kg / (given.lifetime_years * HOURS_PER_YEAR * 3600)

    def column(share: float) -> Column[_Worker]:
        def cell(worker: _Worker, notes: Notes) -> str:
            return show(worker.token_s.scaled(tokens * grams_per_s / share, "g CO2e"), notes)

        return Column(f"{100 * share:g} % utilisation", cell)

    name = f"g CO₂e of making the device per {QUERIES:,} queries"
    columns = [Column[_Worker](name, lambda worker, _: worker.name)]
    columns += [column(share) for share in sorted({*UTILISATIONS, given.utilisation})]
    return table(_workers(rows), columns)


def _workers(rows: Sequence[Row]) -> list[_Worker]:
    """A busy baseline, which all are where the device stays bought, and each technique by itself."""
    first = next((row for row in rows if row.is_baseline), rows[0])
    return [
        _Worker("any, the device stays bought", seconds_per_token(first.record, "baseline")),
        *(
            _Worker(f"{run_name(row)}, shared", seconds_per_token(row.record, "candidate"))
            for row in rows
            if not row.is_baseline
        ),
    ]


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
