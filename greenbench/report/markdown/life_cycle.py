"""Joules of a model's life, what was done once and what serving takes: for the leaderboard and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.energy.life_cycle import Life, Lives
from greenbench.report.figures.style import Sketch
from greenbench.report.markdown.format import Column, Notes, code, only, prose, show, table
from greenbench.schema.quantity import Quantity
from greenbench.wording import ESTIMATE, number

HOW: Final = (
    "What was done once is the preparation of a technique, or the tuning of learning rates and one training "
    "to the target; serving is all joules of the answers, idle power while they are made included. A "
    "trained model is taken to serve as the plain one does, but for one with an adapter. Intervals are those "
    "of serving alone."
)
NO_TOKENS: Final = (
    "`greenbench report --tokens-served N` adds up both for as many tokens as your users ask for."
)


def columns(tokens: float | None) -> list[Column[Life]]:
    """Of the table of lives; `tokens` is how many are served."""
    found = [
        Column[Life]("model", lambda life, _: code(life.label)),
        Column[Life]("J done once", _once),
        Column[Life]("J/token served", lambda life, notes: show(life.each, notes)),
        Column[Life]("serving outweighs it from", lambda life, notes: _count(life.outweighs, notes)),
        Column[Life]("its savings have paid it back at", lambda life, notes: _count(life.paid_back, notes)),
    ]  # fmt: skip
    if tokens is None:
        return found
    head = f"{tokens:,.10g} tokens"
    return [
        *found,
        Column[Life](f"kJ with {head}", lambda life, why: show(life.total(tokens).scaled(1e-3, "kJ"), why)),
        Column[Life]("of it serving", lambda life, _: _share(life.served(tokens))),
    ]  # fmt: skip


def _once(life: Life, notes: Notes) -> str:
    return "none" if life.kind == "plain" else only(life.once, notes)


def _count(tokens: Quantity, notes: Notes) -> str:
    """Tokens as a number with thousands apart."""
    if tokens.value is None:
        return show(tokens, notes)
    mark = ESTIMATE if tokens.is_estimate else ""
    interval = tokens.bounds
    between = (
        notes.mark(tokens.reason)
        if interval is None
        else f"({_whole(interval[0])} to {_whole(interval[1])})"
    )
    return f"{mark}{_whole(tokens.value)} tokens {between}"


def _whole(tokens: float) -> str:
    return f"{float(f'{tokens:.3g}'):,.0f}" if tokens >= 1 else number(tokens)


def _share(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.3g} %"


def life_cycle(
    found: Sequence[Lives], tokens: float | None, figures: Sequence[Sketch]
) -> list[str]:
    """Its lines; none where nothing was done once."""
    if not found:
        return []
    lines = [HOW, *([] if tokens else ["", NO_TOKENS])]
    for each in found:
        lines += ["", f"**{prose(title(each))}**", "", *table(each.lives, columns(tokens))]
    for figure in figures:
        lines += ["", f"![{prose(figure.said, 1500)}]({figure.name})"]
    return lines


def title(lives: Lives) -> str:
    """What they have alike."""
    return f"{lives.setting.title}; tier {lives.setting.tier}; joules: {lives.setting.meter}"
