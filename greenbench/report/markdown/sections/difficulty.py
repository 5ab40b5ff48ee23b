"""Energy by question difficulty: do easy questions cost a technique less than hard ones?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from greenbench.analysis.groups.rows import FLAGGED, Row
from greenbench.analysis.verdicts import judge_sweep
from greenbench.report.markdown.format import (
    Column,
    Notes,
    folded,
    only,
    prose,
    run_name,
    show,
    table,
)
from greenbench.schema.difficulty import Difficulty, Questions
from greenbench.schema.metrics import (
    ACCURACY,
    ENERGY_PER_ANSWER,
    ENERGY_PER_TOKEN,
    SECONDS_PER_ANSWER,
    Metric,
)
from greenbench.schema.quantity import Quantity, named
from greenbench.schema.verdict import Verdict, Word
from greenbench.schema.window import Who
from greenbench.wording import TIMES

HOW: Final = (
    "The items with choices in three parts, by how sure the baseline is of each: its margin is the "
    "log-likelihood of its best choice less that of the second best. Both models generate {tokens} "
    "tokens after each item's own prompt, always the same questions in one round; ratios are "
    "candidate over baseline, their intervals over rounds. Reading the prompt is part of an answer, so "
    "a longer prompt hides more of what is saved. None of this enters the other tables."
)
ENERGY, TIME = ENERGY_PER_ANSWER.ratio, SECONDS_PER_ANSWER.ratio
NOUNS: Final = {ENERGY: "energy", TIME: "time"}
WORDS: Final[Mapping[Word, str]] = {
    "saves": "**easy questions cost it less {what} than hard ones**",
    "costs": "**easy questions cost it more {what} than hard ones**",
    "equivalent": "easy and hard questions cost it the same {what} within 2 %",
    "inconclusive": "no difference in {what} between easy and hard questions is shown",
}


class Line(NamedTuple):
    """One run on one third of the questions."""

    name: str
    third: Questions


def by_difficulty(rows: Sequence[Row]) -> list[str]:
    """What each run shows in a sentence, and tables; nothing where no run was asked by difficulty."""
    known = [(_name(row, found), found) for row in rows if (found := row.record.difficulty)]
    if not known:
        return []
    judged = {name: _judged([found for _, found in known], name) for name in NOUNS}
    lines = [Line(name, third) for name, found in known for third in found.bins]
    return [
        "**Energy by question difficulty**",
        "",
        HOW.format(tokens=known[0][1].new_tokens),
        "",
        *(
            f"- {name}: {_said(found, {metric: judged[metric][place] for metric in NOUNS})}"
            for place, (name, found) in enumerate(known)
        ),
        "",
        *(_tables(lines) if lines else []),
    ]


def _name(row: Row, found: Difficulty) -> str:
    """Marked where something disturbed these windows, even if not the run's others."""
    return run_name(row) if row.flagged or not found.codes else f"{run_name(row)} {FLAGGED}"


def _judged(found: Sequence[Difficulty], metric: str) -> list[Verdict | None]:
    """Each run's verdict on `metric` after Holm over all that have one."""
    own = [each.verdicts.get(metric) for each in found]
    anew = iter(judge_sweep([verdict for verdict in own if verdict]))
    return [next(anew) if verdict else None for verdict in own]


def _said(found: Difficulty, verdicts: Mapping[str, Verdict | None]) -> str:
    """Whether easy questions cost less than hard ones: in energy, or in time where joules cannot tell."""
    if found.reason:
        return f"not measured, as {prose(found.reason)}."
    measured = found.easy_over_hard[ENERGY].provenance.startswith("measured")
    verdict = verdicts[ENERGY if measured else TIME]
    if verdict is None:
        claim = "no claim"
    elif verdict.barred:
        claim = f"no claim ({prose(verdict.barred)})"
    else:
        claim = WORDS[verdict.verdict].format(what=NOUNS[ENERGY if measured else TIME])
    ratios = [
        f"its {noun} ratio on easy questions is {show(found.easy_over_hard[metric], suffix=TIMES)} "
        "that on hard ones"
        for metric, noun in NOUNS.items()
    ]
    return f"{'; '.join([claim, *ratios, *_work(found)])}."


def _work(found: Difficulty) -> list[str]:
    """What was counted, which no meter can blur."""
    easy, hard = found.bins[0], found.bins[-1]
    pairs = (
        ("a token takes {} blocks", easy.mean_depth, hard.mean_depth),
        ("a pass keeps {} drafts", easy.accepted_per_pass, hard.accepted_per_pass),
    )
    return [
        f"{words.format(show(first))} on easy and {show(last)} on hard ones"
        for words, first, last in pairs
        if first.value is not None
    ]


def _tables(lines: Sequence[Line]) -> list[str]:
    counted = [
        column
        for column, seen in COUNTED
        if any(seen(line.third).value is not None for line in lines)
    ]
    levels = [Level(*line, who) for line in lines for who in ("baseline", "candidate")]
    return [
        *table(lines, [*COLUMNS, *counted]),
        "",
        *folded("What the answers took", table(levels, LEVELS)),
        "",
    ]


def _margins(line: Line, notes: Notes) -> str:
    return "; ".join(f"{only(margin, notes)} {margin.unit}" for margin in line.third.margins)


def _ratio(line: Line, metric: str, notes: Notes) -> str:
    return show(named(line.third.ratios, metric, "ratio"), notes, suffix=TIMES)


COLUMNS: list[Column[Line]] = [
    Column("technique", lambda line, _: line.name),
    Column("questions", lambda line, _: line.third.bin),
    Column("items (asked)", lambda line, _: f"{line.third.items} ({line.third.asked})"),
    Column("baseline's margin", _margins),
    Column("prompt tokens", lambda line, _: f"{line.third.prompt_tokens:.0f}"),
    Column("J/answer ratio", lambda line, notes: _ratio(line, ENERGY, notes)),
    Column("s/answer ratio", lambda line, notes: _ratio(line, TIME, notes)),
]
COUNTED: list[tuple[Column[Line], Callable[[Questions], Quantity]]] = [
    (
        Column("blocks a token", lambda line, notes: show(line.third.mean_depth, notes)),
        lambda third: third.mean_depth,
    ),
    (
        Column("drafts kept a pass", lambda line, notes: show(line.third.accepted_per_pass, notes)),
        lambda third: third.accepted_per_pass,
    ),
]


class Level(NamedTuple):
    """One model of a run on one third of the questions."""

    name: str
    third: Questions
    who: Who

    def quantity(self, metric: Metric) -> Quantity:
        """One of its numbers."""
        known = self.third.baseline if self.who == "baseline" else self.third.candidate
        return metric.level(known)


LEVELS: list[Column[Level]] = [
    Column("technique", lambda level, _: level.name),
    Column("questions", lambda level, _: level.third.bin),
    Column("model", lambda level, _: level.who),
    Column(
        "right, %",
        lambda level, notes: show(
            level.quantity(ACCURACY).scaled(100, "%"), notes, decimals=1
        ),
    ),
    Column("J/answer", lambda level, notes: show(level.quantity(ENERGY_PER_ANSWER), notes)),
    Column("J/token", lambda level, notes: show(level.quantity(ENERGY_PER_TOKEN), notes)),
    Column("s/answer", lambda level, notes: show(level.quantity(SECONDS_PER_ANSWER), notes)),
]  # fmt: skip
