"""The frontiers by other costs than joules a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.frontiers.cost_frontiers import COSTS, Line, lines
from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, folded, run_name, show, table

HOW: Final = (
    "Share of resampled blocks and items in which no other run of the table is at least as good in "
    "quality and in the cost, and better in one. Costs are ratios to the run's own baseline. Joules "
    "per correct answer: joules of one request over the share of items answered right, with both "
    "resampled together."
)


def other_frontiers(rows: Sequence[Row]) -> list[str]:
    """A folded table; nothing for fewer than two runs with accuracy."""
    found = [line for line in lines(rows) if line.shares]
    if not found:
        return []
    return [*folded("Frontiers by other axes", [HOW, "", *table(found, COLUMNS)]), ""]


def _energy(line: Line) -> str:
    standing = line.row.standing
    return f"{100 * standing.probability:.0f}" if standing else "–"


def _share(name: str) -> Column[Line]:
    return Column(
        f"{COSTS[name]}, %",
        lambda line, _: f"{100 * line.shares[name]:.0f}" if name in line.shares else "–",
    )


COLUMNS: list[Column[Line]] = [
    Column("on the frontier of quality and", lambda line, _: run_name(line.row)),
    Column("J/token, %", lambda line, _: _energy(line)),
    *map(_share, COSTS),
    Column("J per correct answer", lambda line, notes: show(line.correct_j, notes)),
]
