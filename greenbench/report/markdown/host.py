"""What the host of a GPU drew beside it, under the first table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.energy.energy_by_meter import Beside, host_of, may_have_host
from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.markdown.format import Column, Notes, code, run_name, show
from greenbench.wording import TIMES

NAMED: Final = 4
"""Runs of which the line tells; the table of all runs has the others."""
NOT_MEASURED: Final = (
    "Host not measured: these joules are of the GPU alone. Decoding keeps a core of the host busy too, and "
    "what is saved on the GPU may cost it there (RAPL, where it can be read: `greenbench doctor`)."
)


def host(group: Group) -> str:
    """A line on the group's runs; empty where their joules are not those of a GPU alone."""
    rows = [row for row in group.rows if may_have_host(row.record)]
    known = _known(rows)
    if not known:
        return NOT_MEASURED if rows else ""
    first = known[0][1].host
    said = "; ".join(_said(row, found) for row, found in known[:NAMED])
    lacking = len(rows) - len(known)
    rest = f" Of {lacking} more the host was not measured." if lacking else ""
    return (
        f"Host beside the GPU ({first.boundary}, {code(first.provenance)}), J/token: {said}.{rest}"
    )


def host_lines(groups: Sequence[Group]) -> list[str]:
    """Under the table of several groups: that hosts were not measured; the sections have the rest."""
    return [NOT_MEASURED, ""] if any(host(group) == NOT_MEASURED for group in groups) else []


def columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """For the table of all runs; none where no host was measured."""
    if not _known(rows):
        return []
    return [
        Column("host's J/token ratio", lambda row, notes: _ratio(row, notes, 0)),
        Column("J/token ratio with the host", lambda row, notes: _ratio(row, notes, 1)),
    ]


def _known(rows: Sequence[Row]) -> list[tuple[Row, Beside]]:
    found = ((row, host_of(row.record)) for row in rows)
    return [(row, each) for row, each in found if each]


def _said(row: Row, found: Beside) -> str:
    lines = found.host, found.both
    drew = show(found.host.candidate)
    alone, both = (show(line.ratio, suffix=TIMES) for line in lines)
    return f"{run_name(row)} {drew}, {alone} the baseline's, with the GPU {both}"


def _ratio(row: Row, notes: Notes, which: int) -> str:
    found = host_of(row.record)
    if found is None:
        return f"n/a {notes.mark('no meter read the host')}"
    return show(found[which].ratio, notes, suffix=TIMES)
