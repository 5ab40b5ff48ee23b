"""What ``index.html`` shows, as JSON: groups, runs, what has no result, what is no record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.analysis.groups.comparable import SOURCES, setting
from greenbench.analysis.groups.rows import Group, Row, is_invalid, technique
from greenbench.analysis.impact import Assumptions
from greenbench.records.store import told_apart
from greenbench.report.markdown.headline import noise_floor
from greenbench.report.markdown.host import host
from greenbench.report.markdown.leaderboard import bands
from greenbench.report.markdown.sections.impact import PER_QUERIES, assumed, per_queries
from greenbench.report.markdown.shifting import of_hours, said, waiting
from greenbench.report.page.glossary import PLAIN, TERMS
from greenbench.report.page.numbers import Json, Pool, cleaned, segments, shown
from greenbench.report.page.run import DERIVED, details, summary
from greenbench.schema.codes import CODES, UNKNOWN
from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    MODEL_BYTES,
    SECONDS_PER_TOKEN,
    TPOT,
    TTFT,
    Metric,
)
from greenbench.schema.record import Record

if TYPE_CHECKING:
    from greenbench.records.store import Rejected

DETAILED: Final = 2000
"""Runs with all their numbers; of later ones the tables and the figure show theirs, to stay usable."""
AXES: Final = (ENERGY_PER_TOKEN, ENERGY_PER_SOLVED, SECONDS_PER_TOKEN, TPOT, TTFT, MODEL_BYTES)
"""Ratios to set quality against, the table's own first; less is better in each."""


def page_data(
    groups: Sequence[Group],
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions,
) -> dict[str, Any]:
    """The whole page's content: the same, whatever the order of `records` and `rejected`."""
    pool, environments, columns = Pool(), dict[str, int](), waiting(given)
    rows = [(index, row) for index, group in enumerate(groups) for row in group.rows]
    rows += [(-1, row) for row in _left_out(records)]
    runs: list[Json] = []
    for index, row in rows:
        waits = {each.name: each.of(row) for each in columns}
        run = summary(pool, row, index, per_queries(row, given) | waits)
        if len(runs) < DETAILED:
            run["more"] = details(pool, row)
        facts = json.dumps(row.record.environment, sort_keys=True)
        run["environment"] = environments.setdefault(facts, len(environments))
        place = groups[index].setting if index >= 0 else setting(row.record)
        run["where"] = pool.place(f"{place.title}, tier {place.tier}")
        parts = {"engine": place.program, "device": place.device, "asked": place.asked}
        run |= {name: pool.place(part) for name, part in parts.items()}
        runs.append(run)
    numbers = count()
    return {
        "groups": [_group(group, [next(numbers) for _ in group.rows]) for group in groups],
        "runs": runs,
        "rejected": sorted([shown(name), shown(reason)] for name, reason in rejected),
        "environments": [cleaned(json.loads(facts)) for facts in environments],
        "strings": pool.values,
        "derived": [*DERIVED, *PER_QUERIES, *(each.name for each in columns)],
        "waiting": _waiting(given),
        "assumed": segments(assumed(given)),
        "currency": shown(given.currency),
        "meanings": {code: fault.meaning for code, fault in CODES.items()},
        "unknown": UNKNOWN.meaning,
        "terms": TERMS,
        "plain": PLAIN,
        "sources": SOURCES,
        "detailed": DETAILED,
    }


def _left_out(records: Sequence[Record]) -> list[Row]:
    """Runs that stand in no group: invalid ones and those without a result."""
    found = [record for record in records if record.failure or is_invalid(record)]
    found.sort(key=lambda record: (record.name, record.key, record.started_at))
    names = told_apart(records)
    return [Row(record, technique(record), among=names[id(record)]) for record in found]


def _waiting(given: Assumptions) -> Json:
    """Of a load that can wait: what is said, the tables of hours, the columns of runs; null without hours."""
    if given.by_hour is None:
        return None
    return {
        "said": segments(said(given.by_hour, given)),
        "tables": [
            [title, found.titles, found.lines] for title, found in of_hours(given.by_hour, given)
        ],
        "columns": [[each.name, each.head] for each in waiting(given)],
    }


def _group(group: Group, runs: list[int]) -> Json:
    setting = group.setting
    notes = {row.record.model.note for row in group.rows if row.record.model}
    floors = [noise_floor(row) for row in group.rows if row.is_baseline]
    axes = sorted(AXES, key=lambda metric: metric is not group.axis)
    return {
        "title": shown(setting.title),
        "tier": shown(setting.tier),
        "source": shown(setting.source),
        "measured": setting.measured,
        "meter": shown(setting.meter),
        "tasks": shown(setting.tasks),
        "runs": runs,
        "bands": [[at, *segments(head)] for at, head in sorted(bands(group.rows).items())],
        "noise": [segments(line) for line in floors],
        "host": [segments(line) for line in [host(group)] if line],
        "notes": sorted(shown(note) for note in notes if note),
        "axes": [found for metric in axes if (found := _axis(group, runs, metric))["placed"]],
    }


def _axis(group: Group, runs: list[int], metric: Metric) -> Json:
    """Which runs can be set against the ratio of `metric`, and which of them no other beats."""
    placed = [
        (run, Point(row.quality.value, ratio))
        for run, row in zip(runs, group.rows, strict=True)
        if row.quality.value is not None and (ratio := row.ratio(metric).value) is not None
    ]
    members = on_frontier([point for _, point in placed])
    if metric is group.axis:
        likely = {run for run, row in zip(runs, group.rows, strict=True) if row.frontier}
        members = [run in likely for run, _ in placed]
    return {
        "ratio": metric.ratio,
        "drawn": metric is group.axis,
        "placed": [run for run, _ in placed],
        "members": [run for (run, _), member in zip(placed, members, strict=True) if member],
    }
