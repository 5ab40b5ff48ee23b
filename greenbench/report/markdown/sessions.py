"""What the sessions of a group's runs differ by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, Notes, code, folded, show, table
from greenbench.schema.metrics import TOKENS_PER_S, Metric
from greenbench.schema.quantity import decimals_of
from greenbench.stats.sessions import Pooled
from greenbench.wording import fixed, number

SESSIONS = (
    "A session is one measurement of a run, in processes of its own. Ratios, intervals and verdicts of these "
    "runs are of their mean session (Student's t of what the sessions show: Hartung and Knapp with equal "
    "weights); the next session will show a ratio within the wider interval, in 95 of 100 cases. tau is the "
    "spread of the true ratios between sessions, I² the share of what sessions differ by that their blocks "
    "do not explain."
)


class Between(NamedTuple):
    """What the sessions of one run say of one ratio."""

    row: Row
    metric: Metric
    found: Pooled


def between_sessions(rows: Sequence[Row], first: Metric) -> list[str]:
    """A folded table of the `first` ratio and of speed, empty where every run has one session."""
    lines = [
        Between(row, metric, row.pools[metric.ratio])
        for metric in dict.fromkeys((first, TOKENS_PER_S))
        for row in rows
        if metric.ratio in row.pools
    ]
    if not lines:
        return []
    return [*folded("Between sessions", [SESSIONS, "", *table(lines, BETWEEN)]), ""]


def in_sessions(rows: Sequence[Row], tier: str) -> str:
    """How many sessions the runs have, in words; nothing of tier smoke, which claims nothing anyway."""
    counts = sorted({len(row.sessions) or 1 for row in rows})
    if counts == [1]:
        return "" if tier == "smoke" else ", one session: its 95 % are of that one"
    least, most = counts[0], counts[-1]
    return f", {most} sessions" if least == most else f", {least} to {most} sessions"


def _each(line: Between, _: Notes) -> str:
    ratios = (record.ratios[line.metric.ratio] for record in line.row.sessions)
    return ", ".join(fixed(ratio.value or 0.0, decimals_of(ratio)) for ratio in ratios)


def _next(line: Between, _: Notes) -> str:
    if line.found.next is None:
        return "n/a"
    low, high = (fixed(end, 3) for end in line.found.next)
    return f"{low} to {high}"


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{number(100 * value)} %"


BETWEEN: list[Column[Between]] = [
    Column("technique", lambda line, _: code(line.row.label)),
    Column("ratio of", lambda line, _: line.metric.unit),
    Column("sessions", lambda line, _: str(line.found.ratio.n)),
    Column("mean session", lambda line, notes: show(line.row.ratio(line.metric), notes)),
    Column("the next one", _next),
    Column("tau", lambda line, _: _percent(line.found.tau)),
    Column("I²", lambda line, _: _percent(line.found.i_squared)),
    Column("each", _each),
]
