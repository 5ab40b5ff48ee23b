"""What the page says before its scripts run, and without them: what to choose, and the first tables."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape
from typing import Final

from greenbench.analysis.energy.life_cycle import life_cycles, shown
from greenbench.analysis.groups.rows import Group
from greenbench.analysis.training.table import Budget
from greenbench.report.figures.interactions import interactions_figure
from greenbench.report.figures.style import Sketch
from greenbench.report.markdown import interactions, life_cycle, training
from greenbench.report.markdown.choice import choosing, overviews
from greenbench.report.markdown.format import Cells, cells
from greenbench.report.markdown.leaderboard import OVERVIEW, SYMBOLS, bands
from greenbench.report.markdown.sections.headline_table import headline
from greenbench.report.markdown.surer import surer, surer_of_all
from greenbench.report.page.glossary import link
from greenbench.report.page.numbers import segments
from greenbench.report.page.run import is_noise

CHOSEN: Final = 20
"""Groups with a table of what to choose, of which the first stand in the tables before all others."""
WHOLE: Final = 4
"""Groups with all their runs, which scripts show of all groups, ..."""
ROWS: Final = 60
"""... and of how many runs."""
INTERVAL: Final = re.compile(r"\([−+]?[\d.,]+(?:–| to )[−+]?[\d.,]+\)")
NOTHING: Final = (
    "There is no run yet: make bench runs the sweep for this machine and writes this page again."
)
NONE_SHOWN: Final = "No completed run may be shown: the tables below say why."


def answers(groups: Sequence[Group], notes: Sequence[str], runs: int) -> str:
    """The first screen, as HTML; `notes` stand above it, `runs` is how many records there are."""
    said = [f'<p class="notice">{_html(line)}</p>' for line in notes]
    if not groups:
        return "".join([*said, f'<p class="notice">{NONE_SHOWN if runs else NOTHING}</p>'])
    shown = groups[:CHOSEN]
    each = "".join(_choice(index, group) for index, group in enumerate(shown, start=1))
    if len(shown) > 1:
        said += [
            _table(f"What to choose, by {columns[2].title}", cells(answers, columns))
            for answers, columns in overviews(shown[:OVERVIEW])
        ]
        if len(groups) > OVERVIEW:
            more = len(groups) - OVERVIEW
            said.append(f"<p>{more} more settings have their tables below.</p>")
        said.append(_steps(surer_of_all(shown[:OVERVIEW])))
        each = f"<details><summary>What to choose in each of these</summary>{each}</details>"
    return "".join([*said, each])


def _choice(index: int, group: Group) -> str:
    setting = group.setting
    caption = f"{index}. {setting.title} (joules: {setting.meter}; tier {setting.tier})"
    terms = f"{link('provenance')}{link('tier')}"
    return f"{_table(caption, cells(*choosing(group)), terms)}{_steps(surer(group))}"


def _steps(steps: Sequence[str]) -> str:
    todo = "".join(f"<li>{_html(step)}</li>" for step in steps)
    return f"<p>To be surer:</p><ol>{todo}</ol>" if steps else ""


def tables(groups: Sequence[Group]) -> str:
    """All runs of the first groups, as HTML."""
    return "".join(
        f"<h2>{index}. {escape(group.setting.title)}</h2>{_runs(group)}<p>{escape(SYMBOLS)}</p>"
        for index, group in enumerate(groups[:WHOLE], start=1)
    )


def together(groups: Sequence[Group]) -> str:
    """Stacks beside their techniques alone, as HTML; empty where no stack's parts were measured alone."""
    found = interactions.with_stacks(groups)
    tables = "".join(
        _table(
            f"{group.setting.title} ({interactions.of_what(stacks)})",
            cells(stacks, interactions.COLUMNS),
        )
        for group, stacks in found
    )
    pictures = "".join(map(_picture, interactions_figure(groups)))
    head = f"<h2>What techniques save together</h2><p>{escape(interactions.HOW)}</p>"
    return f"{head}{pictures}{tables}" if found else ""


def _picture(sketch: Sketch) -> str:
    """A picture of its own, so that nothing in it meets the page's names and styles."""
    drawn = base64.b64encode(sketch.draw()).decode()
    alt = escape(sketch.said, quote=True)
    return f'<img class="sketch" alt="{alt}" src="data:image/svg+xml;base64,{drawn}">'


def trained(groups: Sequence[Group], budgets: Sequence[Budget], tokens: float | None) -> str:
    """Runs that trained, and what was done once beside serving, as HTML; empty where there is none."""
    lives = shown(life_cycles(groups, budgets), tokens)
    parts = (
        ("Training", training.HOW,
         [(training.title(b), cells(b.recipes, training.columns())) for b in budgets]),
        ("Before the first token, and after", life_cycle.HOW,
         [(life_cycle.title(each), cells(each.lives, life_cycle.columns(tokens))) for each in lives]),
    )  # fmt: skip
    return "".join(
        f"<h2>{head}</h2><p>{escape(how)}</p>{''.join(_table(*each) for each in tables)}"
        for head, how, tables in parts
        if tables
    )


def _runs(group: Group) -> str:
    rows = group.rows[:ROWS]
    found = cells(rows, headline(group), bands(rows))
    return _table("All runs", found, noise=[is_noise(row) for row in rows])


def _table(caption: str, found: Cells, terms: str = "", noise: Sequence[bool] = ()) -> str:
    """Each cell knows its title, which a telephone shows beside it; rows of nothing but `noise` are grey."""
    head = "".join(f'<th scope="col">{_html(title)}{link(title)}</th>' for title in found.titles)
    grey = iter(noise)
    body = "".join(
        _line(line, found.titles, _is_row(line, found) and next(grey, False))
        for line in found.lines
    )
    notes = "".join(f"<li>{_html(note)}</li>" for note in found.legend)
    legend = f'<ul class="notes">{notes}</ul>' if notes else ""
    name = escape(caption, quote=True)
    return (
        f'<div class="scroll still" role="region" aria-label="{name}" tabindex="0"><table>'
        f"<caption>{name}{terms}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"{legend}"
    )


def _is_row(line: Sequence[str], found: Cells) -> bool:
    """And no head over rows."""
    return len(line) == len(found.titles)


def _line(line: Sequence[str], titles: Sequence[str], is_grey: bool) -> str:
    if len(line) == 1 < len(titles):
        return f'<tr class="band"><th scope="rowgroup" colspan="{len(titles)}">{_html(line[0])}</th></tr>'
    first, *rest = line
    cells_of = (
        f'<td data-title="{escape(title, quote=True)}">{_html(cell)}</td>'
        for title, cell in zip(titles[1:], rest, strict=True)
    )
    kind = ' class="noise"' if is_grey else ""
    return f'<tr{kind}><th scope="row">{_html(first)}</th>{"".join(cells_of)}</tr>'


def _html(markdown: str) -> str:
    """Our own markdown, intervals in one line; what records brought into it stays text."""
    return "".join(
        INTERVAL.sub(r'<span class="whole">\g<0></span>', escape(text))
        if kind == "text"
        else f"<{kind}>{escape(text)}</{kind}>"
        for kind, text in segments(markdown)
    )
