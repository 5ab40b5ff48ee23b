"""The frontiers by other costs than joules a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.frontiers.cost_frontiers import CORRECT, JOULES, Frontiers, Line, frontiers
from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, Notes, folded, run_name, show, table
from greenbench.schema.metrics import ENERGY_PER_SOLVED

HOW: Final = (
    "Share of resampled blocks and items in which no other run of the table is at least as good in "
    "quality and in the cost, and better in one. Costs are ratios to the run's own baseline."
)
JOULES_ARE: Final = {
    CORRECT: "Joules per correct answer: joules of one request over the share of items answered right, "
    "with both resampled together.",
    ENERGY_PER_SOLVED.ratio: "Joules per solved problem: those of the very answers that were graded, wrong "
    "ones among them, over the problems solved, with questions and their windows resampled together in "
    "groups.",
}
ONLY_SOME: Final = (
    "Some of these runs had answers graded with their own joules, and others not: for all of them the "
    "joules here are those of requests of a fixed length."
)


def other_frontiers(rows: Sequence[Row]) -> list[str]:
    """A folded table; nothing for fewer than two runs with accuracy."""
    found = frontiers(rows)
    lines = [line for line in found.lines if line.shares]
    if not lines:
        return []
    said = " ".join([HOW, JOULES_ARE[found.joules], *([ONLY_SOME] if found.only_some else [])])
    return [*folded("Frontiers by other axes", [said, "", *table(lines, _columns(found))]), ""]


def _columns(found: Frontiers) -> list[Column[Line]]:
    return [
        Column("on the frontier of quality and", lambda line, _: run_name(line.row)),
        Column(
            f"{JOULES.get(found.axis.ratio, found.axis.unit)}, %", lambda line, _: _energy(line)
        ),
        *(_share(name, title) for name, title in found.costs.items()),
        Column(JOULES[found.joules], lambda line, notes: _level(found, line, notes)),
    ]


def _energy(line: Line) -> str:
    standing = line.row.standing
    return f"{100 * standing.probability:.0f}" if standing else "–"


def _share(name: str, title: str) -> Column[Line]:
    return Column(
        f"{title}, %",
        lambda line, _: f"{100 * line.shares[name]:.0f}" if name in line.shares else "–",
    )


def _level(found: Frontiers, line: Line, notes: Notes) -> str:
    solved = line.row.record.solved if found.joules == ENERGY_PER_SOLVED.ratio else []
    few = f" {notes.mark(solved[-1].claims)}" if solved and solved[-1].claims else ""
    return f"{show(line.right_j, notes)}{few}"
