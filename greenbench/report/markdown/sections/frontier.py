"""The frontier's doubt in words: who beats whom and how surely, who are equals, the hypervolume."""

from __future__ import annotations

from greenbench.analysis.frontiers.axis import COST_NAMES
from greenbench.analysis.frontiers.frontier_confidence import REFERENCE
from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.markdown.format import Column, code, run_name, table
from greenbench.stats.intervals import Interval
from greenbench.wording import TIMES, fixed, number, percent, signed


def standing(group: Group) -> list[str]:
    """A table of standings and the frontier's hypervolume; nothing for fewer than two runs."""
    placed = [row for row in group.rows if row.standing]
    if len(placed) < 2:
        return []
    return [
        "**The frontier, and how sure it is**",
        "",
        *table(placed, STANDING),
        "",
        _volume(group.volume, COST_NAMES[group.axis]),
    ]


def _equals(row: Row) -> str:
    return ", ".join(map(code, row.standing.ties)) if row.standing else ""


def _beaten(row: Row) -> str:
    rival = row.standing.rival if row.standing else None
    if rival is None:
        return ""
    return (
        f"{code(rival.label)}: {signed(fixed(rival.quality, 1))} points at "
        f"{fixed(rival.cost, 2)}{TIMES} its {COST_NAMES[row.axis]}, in {percent(rival.probability)} of draws"
    )


STANDING: list[Column[Row]] = [
    Column("technique", lambda row, _: run_name(row)),
    Column(
        "on the frontier, % of draws",
        lambda row, _: f"{100 * row.standing.probability:.0f}" if row.standing else "",
    ),
    Column("not told apart from", lambda row, _: _equals(row)),
    Column("beaten by", lambda row, _: _beaten(row)),
]


def _volume(found: Interval | None, cost: str) -> str:
    if found is None or found.low is None or found.high is None:
        return ""
    return (
        f"Hypervolume of the frontier: {number(found.value)} ({number(found.low)} to "
        f"{number(found.high)}) points of quality times share of the baseline's {cost}, counted "
        f"from {fixed(REFERENCE.quality, 0)} points at {REFERENCE.cost:g}{TIMES} {cost}."
    )
