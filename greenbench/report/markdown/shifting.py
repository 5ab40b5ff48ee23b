"""What a load that can wait saves in the cleanest hours: for the leaderboard and the page. All assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from greenbench.analysis.energy.grid_by_hour import GridByHour, Hour
from greenbench.analysis.energy.shifting import (
    Shift,
    mean_day,
    shift,
    shifted_carbon,
    spread_carbon,
)
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.impact import Assumptions
from greenbench.report.markdown.format import Cells, Column, cells, prose, run_name, show, table
from greenbench.report.markdown.sections.impact import QUERIES
from greenbench.schema.quantity import Quantity
from greenbench.wording import TO, number

NEEDED: Final = (4, 8, 12)
"""Hours of each day that a load needs."""


class Waiting(NamedTuple):
    """A column of a run."""

    name: str
    head: str
    of: Callable[[Row], Quantity]
    """Grams of CO2e per `QUERIES` queries."""


def waiting(given: Assumptions) -> list[Waiting]:
    """What stands of each run where the grid is given by the hour."""
    if given.by_hour is None:
        return []
    tokens = float(QUERIES * given.tokens_per_query)
    shifts = [shift(given.by_hour, given.pue, hours) for hours in NEEDED]
    at_any_time = Waiting(
        "queries_at_any_time",
        f"g CO₂e of electricity per {QUERIES:,} queries, at any time",
        partial(spread_carbon, tokens=tokens, by=shifts[0]),
    )
    return [
        at_any_time,
        *(
            Waiting(
                f"queries_in_{by.hours}_hours",
                f"g CO₂e in the {by.hours} cleanest hours of each day",
                partial(shifted_carbon, tokens=tokens, by=by),
            )
            for by in shifts
        ),
    ]


def said(grid: GridByHour, given: Assumptions) -> str:
    """One line of markdown: what is assumed, and of whom it is true."""
    pounds = " (taken for pounds of CO₂ per MWh; of one kWh more where it is marginal)"
    left_out = f", {grid.left_out} that are not whole left out" if grid.left_out else ""
    pue = "PUE by the hour as there" if grid.has_pue else f"PUE {given.pue:g} at all hours"
    return (
        "All but the joules is **assumed**, and nothing is ranked by it. The grid: "
        f"{prose(grid.name)}, {prose(grid.column)}{pounds if grid.is_in_pounds else ''}, {len(grid.days)} "
        f"whole days from {grid.first} to {grid.last}{left_out}, hours of {prose(grid.zone)}; {pue}. They "
        "take the place of the country's year above. The load may wait for any hour of its day, and "
        "needs so many of them; the cleanest have the least intensity times PUE. Those of each day must "
        "be known beforehand, and a forecast knows less; the same hours each day need none. The shares are "
        "saved where all joules of the work move, on a device that is off or others' at other hours. Tables "
        "of runs are of one that stays on: what it draws above idle moves, and idle power stays all day. "
        "Making the device stays as it is."
    )


def of_hours(grid: GridByHour, given: Assumptions) -> list[tuple[str, Cells]]:
    """Tables with their titles: what waiting saves by the hours that a load needs, and the mean day."""
    shifts = [shift(grid, given.pue, hours) for hours in NEEDED]
    return [
        ("What waiting saves, assumed", cells(shifts, _SHIFT)),
        ("The mean day, assumed", cells(list(enumerate(mean_day(grid))), _mean_day(grid))),
    ]


_SHIFT: Final = [
    Column[Shift]("hours that the load needs each day", lambda by, _: str(by.hours)),
    Column[Shift]("g CO₂e/kWh of the device, at any time", lambda by, _: number(by.spread_g)),
    Column[Shift]("in the cleanest hours of each day", lambda by, _: number(by.cleanest_g)),
    Column[Shift]("saves", lambda by, _: _share(by.saved)),
    Column[Shift]("in the same hours each day", lambda by, _: number(by.fixed_g)),
    Column[Shift]("saves without a forecast", lambda by, _: _share(by.saved_fixed)),
    Column[Shift]("these hours", lambda by, _: _ranges(by.fixed)),
]


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _ranges(hours: Sequence[int]) -> str:
    """Hours of the day as ``0–4, 22–24``, each with the end of its last."""
    runs = (list(run) for _, run in groupby(enumerate(hours), lambda at: at[1] - at[0]))
    return ", ".join(f"{run[0][1]}{TO}{run[-1][1] + 1}" for run in runs)


def _mean_day(grid: GridByHour) -> list[Column[tuple[int, Hour]]]:
    columns = [
        Column[tuple[int, Hour]]("hour", lambda at, _: f"{at[0]}{TO}{at[0] + 1}"),
        Column[tuple[int, Hour]]("g CO₂e/kWh of the grid", lambda at, _: number(at[1].g_per_kwh)),
    ]
    if grid.has_pue:
        columns.append(Column("PUE", lambda at, _: f"{at[1].pue:.2f}"))
    return columns


def by_hour(groups: Sequence[Group], given: Assumptions) -> list[str]:
    """What stands of it in ``leaderboard.md``; nothing where the grid is not given by the hour."""
    if given.by_hour is None:
        return []
    grid, shifts = given.by_hour, [shift(given.by_hour, given.pue, hours) for hours in NEEDED]
    lines = [said(grid, given), "", *table(shifts, _SHIFT), ""]
    for index, group in enumerate(groups, start=1):
        rows = [row for row in group.rows if row.energy.value is not None]
        if rows:
            lines += [f"{index}. {prose(group.setting.title)}", "", *table(rows, _runs(given)), ""]
    return [*lines, *table(list(enumerate(mean_day(grid))), _mean_day(grid))]


def _runs(given: Assumptions) -> list[Column[Row]]:
    def column(each: Waiting) -> Column[Row]:
        return Column(each.head, lambda row, notes: show(each.of(row), notes))

    return [Column("technique", lambda row, _: run_name(row)), *map(column, waiting(given))]
