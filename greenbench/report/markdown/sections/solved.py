"""Joules per solved problem: which factor moved, in a table of a group's runs, and how long answers were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import (
    Column,
    Notes,
    code,
    folded,
    only,
    run_name,
    show,
    table,
)
from greenbench.schema.quantity import Quantity
from greenbench.schema.solved import SolvedTask
from greenbench.schema.window import WHO, Who
from greenbench.wording import TIMES, percent

HOW: Final = (
    "The joules are those of the very answers that were graded, wrong ones among them: J per solved item = "
    "J/token × tokens per answer ÷ share solved, and so are their ratios, candidate over baseline on the "
    "same items. Intervals come from drawing items and their windows anew together."
)


class Line(NamedTuple):
    """One task of a run, or all its tasks together."""

    row: Row
    task: SolvedTask


def per_solved(rows: Sequence[Row]) -> list[str]:
    """A table of factors, and a folded one of lengths; nothing where no answers were graded."""
    lines = [Line(row, task) for row in rows for task in row.record.solved]
    if not lines:
        return []
    lines.sort(key=lambda line: line.task.task)  # all together first
    return [
        "**Joules per solved problem**",
        "",
        HOW,
        "",
        *table(lines, [*FACTORS, *_handing(lines)]),
        "",
        *folded("How long answers were", [*table(lines, LENGTHS)]),
        "",
    ]


def _name(line: Line, notes: Notes) -> str:
    few = f" {notes.mark(line.task.claims)}" if line.task.claims else ""
    return f"{run_name(line.row)}{few}"


def _task(line: Line, notes: Notes) -> str:
    if not line.task.task:
        return "all"
    asked = [f"{line.task.shots}-shot"]
    asked += ["chat template"] if line.task.chat_template else []
    asked += [] if line.task.filter == "none" else [f"filter {line.task.filter}"]
    asked += [f"answers {line.task.sampling}"]
    return f"{code(line.task.task)} {code(line.task.metric)} {notes.mark(', '.join(asked))}"


def _ratio(quantity: Quantity, notes: Notes) -> str:
    return show(quantity, notes, suffix=TIMES)


def _level(line: Line, notes: Notes) -> str:
    before, after = (getattr(line.task, who).energy_per_solved for who in WHO)
    return f"{only(before, notes)} → {show(after, notes)}"


def _shares(line: Line, notes: Notes) -> str:
    before, after = (getattr(line.task, who).share_solved for who in WHO)
    return f"{only(before.scaled(100, '%'), notes)} → {only(after.scaled(100, '%'), notes)}"


FACTORS: Final[list[Column[Line]]] = [
    Column("technique", _name),
    Column("task", _task),
    Column("solved, %", _shares),
    Column("J/token ratio", lambda line, notes: _ratio(line.task.ratio.energy_per_token, notes)),
    Column(
        "tokens/answer ratio", lambda line, notes: _ratio(line.task.ratio.tokens_per_answer, notes)
    ),
    Column("share solved ratio", lambda line, notes: _ratio(line.task.ratio.share_solved, notes)),
    Column(
        "**J/solved ratio**", lambda line, notes: _ratio(line.task.ratio.energy_per_solved, notes)
    ),
    Column("J/solved", _level),
]


def _handing(lines: Sequence[Line]) -> list[Column[Line]]:
    """How many answers are the large model's, where a small one was asked first."""
    if not any(item.candidate.handed_over for line in lines for item in line.task.items):
        return []
    return [Column("handed over", _handed_over)]


def _handed_over(line: Line, _: Notes) -> str:
    items = [
        item
        for task in line.row.record.solved
        if task.task == line.task.task or not line.task.task
        for item in task.items
    ]
    many = sum(item.candidate.handed_over for item in items)
    return f"{many} ({percent(many / max(len(items), 1))})"


def _both(line: Line, notes: Notes, name: str, factor: float = 1.0) -> str:
    before, after = (getattr(line.task.lengths[who], name) for who in WHO)
    return f"{only(before.scaled(factor, ''), notes)} → {only(after.scaled(factor, ''), notes)}"


def _cut(line: Line, _: Notes) -> str:
    def of(who: Who) -> str:
        found = line.task.lengths[who]
        asked = max(getattr(line.task, who).tokens_per_answer.n, len(line.task.items), 1)
        return f"{found.cut} ({percent(found.cut / asked)})"

    return f"{of('baseline')} → {of('candidate')}"


LENGTHS: Final[list[Column[Line]]] = [
    Column("technique", _name),
    Column("task", _task),
    Column("tokens of right answers", lambda line, notes: _both(line, notes, "right")),
    Column("tokens of wrong answers", lambda line, notes: _both(line, notes, "wrong")),
    Column("cut at the limit", _cut),
    Column("thoughts, % of tokens", lambda line, notes: _both(line, notes, "thought", 100)),
    Column("thoughts, J/answer", lambda line, notes: _both(line, notes, "thought_energy")),
]
