"""Quality task by task, paired with the baseline: change, flips, tests, and fidelity."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from greenbench.analysis.accuracy import Paired, paired_items
from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, Notes, code, folded, prose, show, table
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing
from greenbench.stats.items import p_difference, p_equivalence
from greenbench.wording import fixed, number

MARGIN = 1.0
"""Points of accuracy within which two models are called equivalent."""
LEVEL = 0.05
NO_FIDELITY = (
    "the task's requests show no distribution to compare, or the record is of before it was kept"
)


class Line(NamedTuple):
    """One task of a run, or all its accuracy tasks together."""

    row: Row
    task: str
    score: TaskScore | None
    """Null for all together."""
    items: Paired
    accuracy: bool


def per_task(rows: Sequence[Row], margin: float = MARGIN) -> list[str]:
    """A folded table, equivalence within `margin` points of accuracy; nothing without scores."""
    lines = [line for row in rows for line in _lines(row)]
    if not lines:
        return _unscored(rows)
    lines.sort(key=lambda line: (line.score is not None, line.task))
    return [
        *_unscored(rows),
        *folded(
            "Quality per task, with tests", [_how(margin), "", *table(lines, _columns(margin))]
        ),
        "",
    ]


def _unscored(rows: Sequence[Row]) -> list[str]:
    """A line for each task that the engine of some run cannot score."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for task, why in row.record.unscored.items():
            found.setdefault((task, why), []).append(code(row.label))
    lines = [
        f"Not scored, and in no number of quality: {code(task)} for {', '.join(labels)}: {prose(why)}."
        for (task, why), labels in sorted(found.items())
    ]
    return [part for line in lines for part in (line, "")]


def _how(margin: float) -> str:
    return (
        "Right to wrong and wrong to right: items that the candidate loses and gains. p: McNemar's exact "
        f"test of no change. Equivalent: TOST within {margin:g} points (p below {LEVEL:g}); *no* means not "
        "shown, not different. Divergence: mean KL from the baseline's distribution to the candidate's, "
        "over a question's choices or, on text, over the vocabulary at each token; agreement: share of "
        "questions with the same answer, or of tokens with the same likeliest. Items that share a passage "
        "count as one observation. All tasks: the items of all accuracy tasks together."
    )


def _lines(row: Row) -> list[Line]:
    tasks = [
        Line(
            row,
            f"{code(score.task)} {prose(score.metric)}",
            score,
            paired_items([score]),
            score.is_accuracy,
        )
        for score in row.record.quality
    ]
    together = paired_items(row.record.quality, accuracy=True)
    return [Line(row, "all tasks", None, together, True), *tasks] if together.baseline else tasks


def _level(line: Line, which: str, notes: Notes) -> str:
    if line.score is None:
        pooled = line.row.baseline_quality if which == "baseline" else line.row.quality
        return show(pooled, notes, decimals=1)
    found: Quantity = getattr(line.score, which)
    if line.accuracy:
        return show(found.scaled(100, "%"), notes, decimals=1)
    return show(found, notes)


def _change(line: Line, notes: Notes) -> str:
    if line.score is None:
        return show(line.row.change, notes, change=True, decimals=1)
    if line.accuracy:
        return show(line.score.change.scaled(100, "points"), notes, change=True, decimals=1)
    return show(line.score.change, notes, change=True)


def _flips(line: Line, lost: float, gained: float) -> str:
    pairs = zip(line.items.baseline, line.items.candidate, strict=True)
    return str(sum(pair == (lost, gained) for pair in pairs)) if line.accuracy else ""


def _p(line: Line, notes: Notes) -> str:
    found = p_difference(*line.items)
    if found is None:
        return f"n/a {notes.mark('the items do not show how much the change varies')}"
    return f"<{fixed(0.001, 3)}" if found < 0.001 else fixed(found, 3)


def _equivalent(margin: float, line: Line, notes: Notes) -> str:
    if not line.accuracy:
        return ""
    items = line.items
    found = p_equivalence(
        items.baseline, items.candidate, items.weights, margin / 100, items.documents
    )
    if found is None:
        return f"n/a {notes.mark('the items do not show how much the change varies')}"
    return f"{'**yes**' if found < LEVEL else 'no'} (p {number(found)})"


def _fidelity(line: Line, which: str, notes: Notes) -> str:
    if line.score is None:
        return ""
    found = line.score.fidelity
    quantity = getattr(found, which) if found else missing("", NO_FIDELITY)
    return show(quantity.scaled(100, "%") if which == "agreement" else quantity, notes)


def _columns(margin: float) -> list[Column[Line]]:
    return [
        Column("task", lambda line, _: line.task),
        Column("technique", lambda line, _: code(line.row.label)),
        Column("baseline", lambda line, notes: _level(line, "baseline", notes)),
        Column("candidate", lambda line, notes: _level(line, "candidate", notes)),
        Column("change", _change),
        Column("right to wrong", lambda line, _: _flips(line, 1, 0)),
        Column("wrong to right", lambda line, _: _flips(line, 0, 1)),
        Column("p", _p),
        Column("equivalent", partial(_equivalent, margin)),
        Column("divergence, nats", lambda line, notes: _fidelity(line, "divergence", notes)),
        Column("agreement, %", lambda line, notes: _fidelity(line, "agreement", notes)),
    ]
