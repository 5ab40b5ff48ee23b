"""Joules by what was metered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.energy.energy_by_meter import Line, boundary_lines
from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, code, folded, show, table
from greenbench.wording import TIMES

HOW: Final = (
    "Over the generate windows of valid blocks. Meters of one boundary check each other and are "
    "never added; a total names its disjoint parts and is as trustworthy as the weakest."
)


def by_boundary(rows: Sequence[Row]) -> list[str]:
    """A folded table of J/token per meter, for runs with more than one."""
    lines = [line for row in rows for line in boundary_lines(row)]
    if not lines:
        return []
    return [*folded("Joules by boundary and meter", [HOW, "", *table(lines, COLUMNS)]), ""]


COLUMNS: list[Column[Line]] = [
    Column("technique", lambda line, _: code(line.label)),
    Column("boundary", lambda line, _: line.boundary),
    Column("meter", lambda line, _: code(line.meter)),
    Column("baseline, J/token", lambda line, notes: show(line.baseline, notes)),
    Column("candidate, J/token", lambda line, notes: show(line.candidate, notes)),
    Column("ratio", lambda line, notes: show(line.ratio, notes, suffix=TIMES)),
    Column("provenance", lambda line, _: code(line.provenance), may_go=True),
]
