"""The first table: what to choose, by how much quality one would give up, and what would make that surer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from greenbench.analysis.choices.picks import (
    Choice,
    Pick,
    choice,
    is_shown,
    surely_within,
)
from greenbench.analysis.frontiers.axis import COST_NAMES
from greenbench.analysis.groups.comparable import told_apart
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.yardstick import ENERGY, SOLVED, SPEED, Yardstick
from greenbench.report.markdown.bar import bar, span_of
from greenbench.report.markdown.format import Column, Notes, prose, run_name, show, table
from greenbench.report.markdown.host import host
from greenbench.report.markdown.surer import numbered, surer
from greenbench.schema.quantity import decimals_of
from greenbench.wording import TIMES, fixed, number

MOST_LOST: Final = 3.0
"""Points: who accepts any loss is told of one beyond that, too."""
NAMED: Final = 6
"""Runs that one cell names; the others are counted."""
MOST: Final = 7
"""Lines: of more, what helps nobody shares the last."""
FRONTIER: Final = "no other is as good in quality and {}, and better in one"
NOT_OF_ALL: Final = (
    "its own interval is clear of 1×, and no longer once all runs of the table are counted (Holm)"
)


class Line(NamedTuple):
    """One line of the table: what one accepts, which run, and how sure that is."""

    accepts: str
    chosen: str
    row: Row | None
    sure: Callable[[Notes], str]


def lines(group: Group, found: Choice) -> list[Line]:
    """The picks, the baseline, and what not to use."""
    yardstick = found.yardstick
    picked = [
        Line(_accepts(pick), _chosen(pick, yardstick), pick.row, _sureness(pick, yardstick))
        for pick in found.picks
    ]
    again = next((row for row in group.rows if row.is_baseline), None)
    base = f"the baseline ({run_name(again)})" if again else "the baseline"
    doubt = "against itself: the noise here" if again else "no A/A run shows the noise here"
    kept = Line("nothing is changed", f"keep {base}", again, lambda _: doubt)
    better = FRONTIER.format(COST_NAMES[group.axis])
    rest = [
        ("also on the frontier", _told(_beside(group, found), yardstick), better),
        ("**do not use here**", _told(found.worse, yardstick), "worse than the baseline"),
        ("no effect shown", _names(found.same), "within 2 % or too uncertain"),
    ]
    told = [each for each in rest if each[1]]
    if len(picked) + 1 + len(told) > MOST:
        told = [told[0], _together(*told[1:])]
    others = [
        Line(title, names, None, lambda _, why=why: why)  # type: ignore[misc]
        for title, names, why in told
    ]
    return [*picked, kept, *others]


def _together(*told: tuple[str, str, str]) -> tuple[str, str, str]:
    """Lines as one."""
    title, names, why = (" · ".join(cells) for cells in zip(*told, strict=True))
    return title, names, why


def _chosen(pick: Pick, yardstick: Yardstick) -> str:
    """What may not be claimed is worth a try."""
    name = run_name(pick.row)
    return name if is_shown(pick.row, yardstick) else f"try {name}"


def _beside(group: Group, found: Choice) -> list[Row]:
    """Those that are probably on the frontier, and in no other line."""
    named = [*(pick.row for pick in found.picks), *found.worse, *found.same]
    labels = {row.label for row in named}
    return [
        row
        for row in group.rows
        if row.frontier and not row.is_baseline and row.label not in labels
    ]


def _told(rows: Sequence[Row], yardstick: Yardstick) -> str:
    """Each with how much."""
    ratios = [row.ratio(yardstick.metric) for row in rows[:NAMED]]
    told = [
        f"{run_name(row)} {fixed(ratio.value or 0.0, decimals_of(ratio))}{TIMES}"
        for row, ratio in zip(rows, ratios, strict=False)
    ]
    more = len(rows) - NAMED
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def columns(shown: Sequence[Line], found: Choice) -> list[Column[Line]]:
    """The measure that is chosen by first, with a bar of its interval on one scale for all lines."""
    yardstick = found.yardstick
    other = SPEED if yardstick is not SPEED else ENERGY
    span = span_of([line.row.ratio(yardstick.metric) for line in shown if line.row])
    return [
        Column("loss of quality that one accepts", lambda line, _: line.accepts),
        Column("choose", lambda line, _: line.chosen),
        Column(_title(yardstick), lambda line, notes: _ratio(line, yardstick, notes)),
        Column(
            _scale(yardstick, span),
            lambda line, _: bar(line.row.ratio(yardstick.metric), span) if line.row else "",
        ),
        Column(_title(other), lambda line, notes: _ratio(line, other, notes)),
        Column("change of quality, points", _quality),
        Column("how sure", lambda line, notes: line.sure(notes)),
    ]


def choose(group: Group) -> list[str]:
    """The table of one group, and what would make it surer."""
    shown, titles = choosing(group)
    beside = host(group)
    return [*table(shown, titles), "", *([beside, ""] if beside else []), *numbered(surer(group))]


def choosing(group: Group) -> tuple[list[Line], list[Column[Line]]]:
    """What the table of one group is made of."""
    found = choice(group)
    shown = lines(group, found)
    return shown, columns(shown, found)


class Answer(NamedTuple):
    """One group in a table of groups."""

    place: str
    line: Line
    found: Choice


Overview: TypeAlias = tuple[list[Answer], list[Column[Answer]]]


def overviews(groups: Sequence[Group]) -> list[Overview]:
    """Tables with a line for each group, which say what to choose within a point: one for each measure."""
    _, titles = told_apart([group.setting for group in groups])
    by_measure: dict[Yardstick, list[Answer]] = {}
    for index, (group, title) in enumerate(zip(groups, titles, strict=True), start=1):
        answer = _answer(group, f"{index}. {prose(title)}")
        by_measure.setdefault(answer.found.yardstick, []).append(answer)
    return [(some, _overview(some)) for some in by_measure.values()]


def _answer(group: Group, title: str) -> Answer:
    found = choice(group)
    within = [pick for pick in found.picks if any(x is not None and x <= 1 for x in pick.losses)]
    if within:
        pick = within[-1]
        chosen = _chosen(pick, found.yardstick)
        line = Line("", chosen, pick.row, _sureness(pick, found.yardstick))
    else:
        again = next((row for row in group.rows if row.is_baseline), None)
        costs = f"; worse: {_told(found.worse, found.yardstick)}" if found.worse else ""
        line = Line("", "keep the baseline", again, lambda _: f"nothing is shown to help{costs}")
    return Answer(title, line, found)


def _overview(answers: Sequence[Answer]) -> list[Column[Answer]]:
    inner = columns([each.line for each in answers], answers[0].found)
    first = Column[Answer]("where", lambda each, _: each.place)
    return [
        first,
        *(
            Column[Answer](
                "choose, giving up 1 point at most" if column.title == "choose" else column.title,
                lambda each, notes, cell=column.cell: cell(each.line, notes),  # type: ignore[misc]
            )
            for column in inner[1:]
        ),
    ]


def _accepts(pick: Pick) -> str:
    least, most = pick.losses[0], pick.losses[-1]
    if least is None:
        return "any loss"
    start = _up_to(least) if least else "no loss: the same tokens"
    if most is None:
        return f"{start}, or any more"
    return start if most == least else f"{start}, or {_up_to(most)}"


def _up_to(points: float) -> str:
    return f"up to {points:g} point{'' if points == 1 else 's'} lost"


def _sureness(pick: Pick, yardstick: Yardstick) -> Callable[[Notes], str]:
    def said(notes: Notes) -> str:
        row, metric = pick.row, yardstick.metric
        if is_shown(row, yardstick):
            words = [f"{yardstick.gain} **shown**"]
        else:
            verdict = row.verdicts.get(metric.ratio)
            barred = verdict.barred or NOT_OF_ALL if verdict else "it has no verdict"
            why = notes.mark(barred)
            words = [f"{yardstick.gain} a hint {why}"]
        least = next((loss for loss in pick.losses if loss), None if row.is_lossless else MOST_LOST)
        if least and row.change.bounds and not surely_within(row, least):
            lost = fixed(-row.change.bounds[0], 1)
            words.append(f"a loss of up to {lost} points of quality is not excluded")
        if pick.rivals:
            words.append(f"not told apart from {_names(pick.rivals, 2)}")
        return "; ".join(words)

    return said


def _names(rows: Sequence[Row], most: int = NAMED) -> str:
    named = ", ".join(run_name(row) for row in rows[:most])
    return f"{named} and {len(rows) - most} more" if len(rows) > most else named


def _title(yardstick: Yardstick) -> str:
    what = {ENERGY: "J/token", SOLVED: "J/solved", SPEED: "tokens/s"}[yardstick]
    return f"{what}, baseline = 1{TIMES}"


def _scale(yardstick: Yardstick, span: float) -> str:
    ends = ("better", "worse") if yardstick.sign < 0 else ("worse", "better")
    return f"{ends[0]} ← 1{TIMES} → {ends[1]}, to {number(span)}{TIMES}"


def _ratio(line: Line, yardstick: Yardstick, notes: Notes) -> str:
    return "" if line.row is None else show(line.row.ratio(yardstick.metric), notes, suffix=TIMES)


def _quality(line: Line, notes: Notes) -> str:
    if line.row is None:
        return ""
    return show(line.row.change, notes, change=True, decimals=1)
