"""How sure the joules are: the uncertainty budgets of a group's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, Notes, code, folded, prose, table
from greenbench.schema.uncertainty import Uncertainty
from greenbench.wording import number

HOW = (
    "Relative standard uncertainties (GUM); total: root of the sum of squares of tick, edges, repeats "
    "and gain; expanded: 2 x total, about 95 %. Edges: what was drawn while no request ran. A "
    "sensor's gain cancels in a ratio. What the joules cover is a definition and adds nothing."
)


class Entry(NamedTuple):
    """The budget of one number of one run."""

    label: str
    name: str
    budget: Uncertainty


def budgets(rows: Sequence[Row]) -> list[str]:
    """A folded table, empty where no run has a budget."""
    entries = [
        Entry(row.label, name, budget)
        for row in rows
        for name, budget in sorted(row.record.uncertainty.items())
    ]
    if not entries:
        return []
    return [*folded("Uncertainty of the joules", [HOW, "", *table(entries, COLUMNS)]), ""]


def _percent(value: float | None, without: str) -> str:
    return without if value is None else f"{number(100 * value)} %"


def _gain(entry: Entry, _: Notes) -> str:
    return _percent(
        entry.budget.gain, "cancels" if entry.name.startswith("ratio.") else "not known"
    )


def _total(entry: Entry, value: float | None, notes: Notes) -> str:
    return _percent(value, "" if value is not None else f"n/a {notes.mark(entry.budget.reason)}")


COLUMNS: list[Column[Entry]] = [
    Column("technique", lambda entry, _: code(entry.label)),
    Column("number", lambda entry, _: code(entry.name)),
    Column("tick", lambda entry, _: _percent(entry.budget.tick, "")),
    Column("tick at most", lambda entry, _: _percent(entry.budget.tick_bound, "")),
    Column("edges", lambda entry, _: _percent(entry.budget.edges, "not known")),
    Column("repeats", lambda entry, _: _percent(entry.budget.repeats, "not known")),
    Column("gain", _gain),
    Column("total", lambda entry, notes: _total(entry, entry.budget.total, notes), may_go=True),
    Column(
        "expanded", lambda entry, notes: _total(entry, entry.budget.expanded, notes), may_go=True
    ),
    Column("covers", lambda entry, _: prose(entry.budget.boundary), may_go=True),
]
