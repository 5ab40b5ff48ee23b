"""Joules by phase, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.energy.energy_by_phase import Phases, phases
from greenbench.analysis.groups.rows import Group
from greenbench.report.markdown.format import Column, folded, only, prose, run_name, show, table
from greenbench.schema.quantity import Quantity, missing

NO_ITEMS = "no item was scored"


HOW = (
    "Prefill and decode: joules of one request, means over valid blocks; decode is generate less "
    "prefill. Scoring (all items) and preparation: once in the run. Idle: what the device draws "
    "while both models are loaded and nothing runs."
)


def _by_item(each: Phases) -> Quantity:
    """Of a task's item, which several requests may make up."""
    items = sum(len(score.items) for score in each.row.record.quality)
    return each.score.scaled(1 / items, "J/item") if items else missing("J/item", NO_ITEMS)


def phase_table(groups: Sequence[Group]) -> list[str]:
    """A folded table for each group with joules; nothing without."""
    lines: list[str] = []
    for index, group in enumerate(groups, start=1):
        found = [each for row in group.rows if (each := phases(row))]
        if found:
            lines += [f"{index}. {prose(group.setting.title)}", "", *table(found, COLUMNS), ""]
    return [*folded("Joules by phase", [HOW, "", *lines]), ""] if lines else []


COLUMNS: list[Column[Phases]] = [
    Column("technique", lambda each, _: run_name(each.row)),
    Column("prefill, J/request", lambda each, notes: show(each.prefill, notes)),
    Column("decode, J/request", lambda each, notes: show(each.decode, notes)),
    Column("baseline, both, J/request", lambda each, notes: show(each.baseline, notes)),
    Column("idle meanwhile, J/request", lambda each, notes: show(each.idle, notes)),
    Column("scoring, J", lambda each, notes: only(each.score, notes)),
    Column("scoring, J/item", lambda each, notes: only(_by_item(each), notes)),
    Column("preparation, J", lambda each, notes: only(each.prepare, notes)),
]
