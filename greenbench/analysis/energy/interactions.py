"""What techniques save together, beside what each saves alone: the factorial that a group's runs are."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Final, NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.groups.rows import Group, Row, technique
from greenbench.analysis.yardstick import EFFECT, Yardstick, observations, yardstick_of
from greenbench.schema.quantity import Quantity
from greenbench.stats.factorial import Cell, Parts, combined, factorial, p_value
from greenbench.stats.intervals import CONFIDENCE, Interval, from_logs, holm, log_error

APART: Final = " + "
"""Between the techniques of a stack's label."""


class Stack(NamedTuple):
    """A stack, each of whose techniques was measured alone in the same setting; all are ratios."""

    row: Row
    yardstick: Yardstick
    parts: tuple[str, ...]
    alone: dict[str, Row]
    product: Quantity
    """What it would be if none met another."""
    together: Quantity
    meeting: Quantity
    """`together` over `product`."""
    order: int
    """Of so many techniques at once the interactions were told, those of more taken to be none."""
    effects: dict[Parts, Quantity]
    """Of pairs and more."""
    shares: dict[str, Quantity]
    """What each adds to the stack, whatever the order: their product is the stack's ratio, as far as
    interactions were told. Empty where none were of three or more, or where those do not explain it."""
    claims: bool
    """Whether its tier may claim anything."""
    p: float
    """That they do not meet, by Holm's correction over the group's stacks."""

    @property
    def word(self) -> str:
        """What the meeting comes to, where it is shown and over 2 %; a hint where a run may claim nothing."""
        size = self.meeting.value
        if size is None or self.p >= 1 - CONFIDENCE or abs(size - 1) <= EFFECT:
            return "no interaction shown"
        said = "they overlap" if (size > 1) == (self.yardstick.sign < 0) else "they help each other"
        return said if self.claims else f"{said}, a hint"


def interactions(group: Group) -> list[Stack]:
    """The group's stacks, by label; what is not measured has no line."""
    yardstick = yardstick_of(group)
    cells = [(row, cell) for row in group.rows if (cell := _cell(row, yardstick))]
    stacks = [each for row, cell in cells if (each := _stack(row, cell, cells, yardstick))]
    adjusted = holm([stack.p for stack in stacks])
    claims = group.setting.claims
    found = [each._replace(p=p, claims=claims) for each, p in zip(stacks, adjusted, strict=True)]
    return sorted(found, key=lambda stack: stack.row.label)


def _cell(row: Row, yardstick: Yardstick) -> Cell | None:
    """The ratio's logarithm and how well it is known; null of the baseline, and without an interval."""
    ratio = row.ratio(yardstick.metric)
    if row.is_baseline or ratio.value is None or ratio.bounds is None or ratio.n < 2:
        return None
    n = observations(ratio, yardstick.metric)
    variance = log_error(*ratio.bounds, n) ** 2
    return Cell(frozenset(_parts(row)), log(ratio.value), variance, n - 1, n)


def _parts(row: Row) -> tuple[str, ...]:
    return tuple(technique(row.record).split(APART))


def _stack(
    row: Row, whole: Cell, every: Sequence[tuple[Row, Cell]], yardstick: Yardstick
) -> Stack | None:
    parts, source = _parts(row), row.ratio(yardstick.metric).provenance
    first = {cell.parts: (other, cell) for other, cell in reversed(every)}  # of twins the first
    first[whole.parts] = row, whole
    if len(whole.parts) < max(2, len(parts)) or any(frozenset({p}) not in first for p in parts):
        return None

    def ratio(found: Interval) -> Quantity:
        return as_quantity(from_logs(found), "ratio", source)

    alone = {part: first[frozenset({part})] for part in parts}
    single = [cell for _, cell in alone.values()]
    told = factorial([cell for _, cell in first.values() if cell.parts <= whole.parts])
    if told is None:
        return None
    ones = [1] * len(single)
    meets = combined([whole, *single], [1, *(-1 for _ in single)])
    several = {some: ratio(found) for some, found in told.effects.items() if len(some) > 1}
    is_explained = several and told.p_lack >= 1 - CONFIDENCE
    return Stack(
        row, yardstick, parts, {part: other for part, (other, _) in alone.items()},
        ratio(combined(single, ones)), ratio(combined([whole], [1])), ratio(meets), told.order, several,
        {part: ratio(told.shares[part]) for part in parts} if is_explained else {},
        claims=False, p=p_value([whole, *single], [1, *(-1 for _ in single)]),
    )  # fmt: skip
