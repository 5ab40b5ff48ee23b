"""What stacks save beside their techniques alone, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.energy.interactions import Stack, interactions
from greenbench.analysis.groups.rows import Group
from greenbench.analysis.yardstick import ENERGY, SOLVED, SPEED
from greenbench.report.markdown.format import Column, Notes, code, prose, run_name, show, table
from greenbench.wording import TIMES

HOW: Final = (
    "If techniques did not meet, their ratios would multiply. Together over that product is how they meet: "
    "they overlap where they pay for the same bytes or time, and help each other where one makes the "
    "other worth more; it must be over 2 %, and shown after Holm's correction over a setting's stacks. A "
    "share of a stack is a Shapley value: what a technique adds in the mean over all orders, so that the "
    "shares multiply to the stack's ratio."
)
NO_SHARE: Final = "runs of its parts together are missing, which tell their interactions apart"
UNEXPLAINED: Final = "more of them interact at once than these runs tell apart"
ASSUMED: Final = (
    "interactions of more than {} at once are taken to be none, as too few runs tell them apart"
)


def together(groups: Sequence[Group]) -> list[str]:
    """A table for each group with stacks whose parts were measured alone; nothing without."""
    found = with_stacks(groups)
    lines = [HOW, ""] if found else []
    for group, stacks in found:
        lines += [f"**{prose(group.setting.title)}** ({of_what(stacks)}):", ""]
        lines += [*table(stacks, COLUMNS), ""]
    return lines


def with_stacks(groups: Sequence[Group]) -> list[tuple[Group, list[Stack]]]:
    """Groups with stacks whose parts were measured alone."""
    return [(group, stacks) for group in groups if (stacks := interactions(group))]


def of_what(stacks: Sequence[Stack]) -> str:
    """Whose ratios the table has."""
    what = {ENERGY: "J/token", SOLVED: "J/solved", SPEED: "tokens/s"}[stacks[0].yardstick]
    return f"{what} over the baseline's"


def _alone(stack: Stack, notes: Notes) -> str:
    return ", ".join(
        f"{run_name(row)} {show(row.ratio(stack.yardstick.metric), notes, suffix=TIMES)}"
        for row in stack.alone.values()
    )


def _shares(stack: Stack, notes: Notes) -> str:
    if not stack.shares:
        return f"n/a {notes.mark(UNEXPLAINED if stack.effects else NO_SHARE)}"
    told = ", ".join(
        f"{code(part)} {show(stack.shares[part], notes, suffix=TIMES)}" for part in stack.parts
    )
    more = len(stack.parts) > stack.order
    return f"{told} {notes.mark(ASSUMED.format(stack.order))}" if more else told


def _effects(stack: Stack, notes: Notes) -> str:
    """Of pairs and more, where the stack is not itself the pair."""
    if len(stack.parts) == 2:
        return "as they meet"
    told = [
        f"{' · '.join(code(part) for part in stack.parts if part in some)} {show(found, notes, suffix=TIMES)}"
        for some, found in stack.effects.items()
    ]
    return ", ".join(told) or f"n/a {notes.mark(NO_SHARE)}"


COLUMNS: Final[list[Column[Stack]]] = [
    Column("stack", lambda stack, _: run_name(stack.row)),
    Column("each alone", _alone),
    Column("if they did not meet", lambda stack, notes: show(stack.product, notes, suffix=TIMES)),
    Column("together", lambda stack, notes: show(stack.together, notes, suffix=TIMES)),
    Column("together over that", lambda stack, notes: show(stack.meeting, notes, suffix=TIMES)),
    Column("how they meet", lambda stack, _: stack.word),
    Column("interactions", _effects),
    Column("share of each", _shares),
]
