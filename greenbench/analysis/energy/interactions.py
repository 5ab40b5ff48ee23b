"""What techniques save together, beside what each saves alone: the factorial that a group's runs are."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.groups.rows import Group, Row, technique
from greenbench.analysis.yardstick import Yardstick, yardstick_of
from greenbench.schema.quantity import Quantity
from greenbench.stats.factorial import Cell, Parts, combined, factorial
from greenbench.stats.intervals import Interval, from_logs, t_quantile

APART = " + "
"""Between the techniques of a stack's label."""


class Stack(NamedTuple):
    """A stack, each of whose techniques was measured alone in the same setting; all are ratios."""

    row: Row
    yardstick: Yardstick
    parts: tuple[str, ...]
    alone: dict[str, Quantity]
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
    """What each adds to the stack, whatever the order: their product is `together`. Empty where no
    interaction was told of three or more."""

    @property
    def word(self) -> str:
        """What the meeting comes to, where its interval says so."""
        bounds = self.meeting.bounds
        if bounds is None or bounds[0] <= 1 <= bounds[1]:
            return "no interaction shown"
        less = (bounds[0] > 1) == (self.yardstick.sign < 0)
        return "they overlap" if less else "they help each other"


def interactions(group: Group) -> list[Stack]:
    """The group's stacks, by label; what is not measured has no line."""
    yardstick = yardstick_of(group)
    cells = [(row, cell) for row in group.rows if (cell := _cell(row, yardstick))]
    found = [_stack(row, cell, [each for _, each in cells], yardstick) for row, cell in cells]
    return sorted((stack for stack in found if stack), key=lambda stack: stack.row.label)


def _cell(row: Row, yardstick: Yardstick) -> Cell | None:
    """The ratio's logarithm and how well it is known; null of the baseline, and without an interval."""
    ratio = row.ratio(yardstick.metric)
    if row.is_baseline or ratio.value is None or ratio.bounds is None or ratio.n < 2:
        return None
    half = (log(ratio.bounds[1]) - log(ratio.bounds[0])) / 2
    variance = (half / t_quantile(ratio.n)) ** 2
    return Cell(frozenset(_parts(row)), log(ratio.value), variance, ratio.n - 1, ratio.n)


def _parts(row: Row) -> tuple[str, ...]:
    return tuple(technique(row.record).split(APART))


def _stack(row: Row, whole: Cell, cells: Sequence[Cell], yardstick: Yardstick) -> Stack | None:
    parts, source = _parts(row), row.ratio(yardstick.metric).provenance
    alone = {part: [cell for cell in cells if cell.parts == {part}] for part in parts}
    if len(whole.parts) < max(2, len(parts)) or not all(alone.values()):
        return None

    def ratio(found: Interval) -> Quantity:
        return as_quantity(from_logs(found), "ratio", source)

    single = [each[0] for each in alone.values()]
    within = [cell for cell in cells if cell.parts <= whole.parts and cell is not whole]
    told = factorial([*within, whole])
    if told is None:
        return None
    pairs = {some: ratio(found) for some, found in told.effects.items() if len(some) > 1}
    return Stack(
        row, yardstick, parts,
        {part: ratio(combined([cell], [1])) for part, cell in zip(parts, single, strict=True)},
        ratio(combined(single, [1] * len(single))),
        ratio(combined([whole], [1])),
        ratio(combined([whole, *single], [1, *[-1] * len(single)])),
        told.order, pairs,
        {part: ratio(told.shares[part]) for part in parts} if pairs else {},
    )  # fmt: skip
