"""Several models on one device, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.frontiers.model_frontier import Line, devices
from greenbench.analysis.groups.rows import Group
from greenbench.report.markdown.format import Column, Notes, code, prose, run_name, show, table
from greenbench.wording import percent

HOW = (
    "Quality and J/token as they are, not as ratios, so that models compare: of the same tasks and "
    "workload, on one device, by one meter. The runs were not measured side by side, so that what "
    "the machine did in between is in the differences. ★ and the percentage: the frontier, resampled "
    "over blocks and items."
)

MEMBER = "★"


def side_by_side(groups: Sequence[Group]) -> list[str]:
    """A table for each such device; nothing where every device ran one model."""
    lines: list[str] = []
    for device in devices(groups):
        lines += [f"**{prose(device.title)}**", "", *table(device.lines, COLUMNS), ""]
    return [HOW, "", *lines] if lines else []


def _frontier(line: Line, _: Notes) -> str:
    return f"{MEMBER if line.member else ''} {percent(line.probability)}".strip()


COLUMNS: list[Column[Line]] = [
    Column("model", lambda line, _: prose(line.setting.model)),
    Column("technique", lambda line, _: run_name(line.row)),
    Column("quality, %", lambda line, notes: show(line.row.quality, notes, decimals=1)),
    Column("J/token", lambda line, notes: show(line.row.energy, notes)),
    Column("provenance", lambda line, _: code(line.row.energy.provenance), may_go=True),
    Column("frontier", _frontier),
]
