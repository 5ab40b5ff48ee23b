"""Verdicts as the leaderboard shows them: a word for each run, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, Notes, code, folded, prose, run_name, table
from greenbench.schema.verdict import Verdict, Word
from greenbench.wording import TO, chance, fixed

NO_VERDICT = "the record has no such verdict"
LOUD = {"saves", "costs"}  # a cost must be as visible as a saving


class Judged(NamedTuple):
    """One verdict on one run."""

    name: str
    verdict: Verdict


def has_verdicts(rows: Sequence[Row], name: str) -> bool:
    """Whether any of `rows` has a verdict on its ratio `name`."""
    return any(name in row.verdicts for row in rows)


def cell(row: Row, name: str, notes: Notes) -> str:
    """The verdict in a word; where it is barred, no claim and the letter of why."""
    return word(row.verdicts.get(name), notes)


def word(verdict: Verdict | None, notes: Notes) -> str:
    """The same of any verdict, or of none."""
    if verdict is None:
        return f"n/a {notes.mark(NO_VERDICT)}"
    if verdict.barred:
        return f"no claim {notes.mark(verdict.barred)}"
    return loud(verdict.verdict)


def loud(word: Word) -> str:
    """The word, bold where it says that something changed."""
    return f"**{word}**" if word in LOUD else word


def tally(rows: Sequence[Row], name: str, of: str) -> list[str]:
    """One sentence: which runs save, which cost, and which show neither. None where all are barred."""
    open_to_claims = [row for row in rows if name in row.verdicts and not row.verdicts[name].barred]
    parts = []
    for word in get_args(Word):
        names = [run_name(row) for row in open_to_claims if row.verdicts[name].verdict == word]
        parts += [f"{loud(word)} {', '.join(names)}"] if names else []
    return [f"Verdicts on {of}: {'; '.join(parts)}."] if parts else []


def numbers_behind(rows: Sequence[Row]) -> list[str]:
    """Every verdict with its interval, tests and reason, folded away."""
    found = [
        Judged(run_name(row), verdict)
        for name in sorted({name for row in rows for name in row.verdicts})
        for row in rows
        if (verdict := row.verdicts.get(name))
    ]
    if not found:
        return []
    how = (
        "p: two-sided paired t-test of the ratio against 1; Holm: the same, adjusted over the runs "
        "of this table that tested the metric; TOST: test of equivalence. Less is better in every "
        "metric."
    )
    return [*folded("Verdicts and the numbers behind them", [how, "", *table(found, COLUMNS)]), ""]


def _interval(judged: Judged, _: Notes) -> str:
    verdict = judged.verdict
    if verdict.ratio is None:
        return "n/a"
    if verdict.low is None or verdict.high is None:
        return fixed(verdict.ratio, 4)
    return f"{fixed(verdict.ratio, 4)} ({fixed(verdict.low, 4)}{TO}{fixed(verdict.high, 4)})"


def _holm(judged: Judged, _: Notes) -> str:
    verdict = judged.verdict
    return chance(verdict.p_adjusted) + (f" ({verdict.family} runs)" if verdict.family > 1 else "")


def _tost(judged: Judged, _: Notes) -> str:
    verdict = judged.verdict
    shown = chance(verdict.p_equivalence)
    return shown if verdict.p_equivalence is None else f"{shown} (±{100 * verdict.margin:g} %)"


def _why(judged: Judged, notes: Notes) -> str:
    barred = judged.verdict.barred
    return f"no claim {notes.mark(barred)}" if barred else prose(judged.verdict.reason)


COLUMNS: list[Column[Judged]] = [
    Column("metric", lambda judged, _: code(judged.verdict.metric)),
    Column("technique", lambda judged, _: judged.name),
    Column("verdict", lambda judged, _: loud(judged.verdict.verdict)),
    Column("ratio", _interval),
    Column("n", lambda judged, _: str(judged.verdict.n)),
    Column("interval by", lambda judged, _: judged.verdict.method or "n/a"),
    Column("p", lambda judged, _: chance(judged.verdict.p_difference)),
    Column("p, Holm", _holm),
    Column("p, TOST", _tost),
    Column("why", _why),
]
