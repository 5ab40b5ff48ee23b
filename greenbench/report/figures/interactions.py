"""``figures/interactions.svg``: each technique alone, and what it adds to the stack that it is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from greenbench.analysis.energy.interactions import Stack, interactions
from greenbench.analysis.groups.rows import Group
from greenbench.report.figures.energy_ratios import ESTIMATED, NO_CLAIM, Line, draw_lines
from greenbench.report.figures.style import PANELS, Grid, Sketch, row_texts, svg
from greenbench.report.markdown.format import show
from greenbench.schema.quantity import Quantity
from greenbench.wording import ESTIMATE, TIMES, plain, short

NAME: Final = "figures/interactions.svg"
LINE_IN, LEFT_IN, RIGHT_IN = 0.27, 3.4, 1.9


class Panel(NamedTuple):
    """One stack's lines."""

    stack: Stack
    lines: list[Line]


def interactions_figure(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where there is a stack whose techniques were measured alone."""
    stacks = [stack for group in groups for stack in interactions(group)]
    panels = [Panel(stack, _lines(stack)) for stack in stacks]
    if not panels:
        return []
    told = " ".join(
        f"{plain(panel.stack.row.label, 80)}: {panel.stack.word}; "
        f"{'; '.join(f'{line.label} {line.shown}' for line in panel.lines)}."
        for panel in panels[:PANELS]
    )
    title = "What techniques save alone and in a stack"
    return [Sketch(NAME, f"{title}. {told}", lambda: svg(lambda: _figure(panels), title))]


def _lines(stack: Stack) -> list[Line]:
    """From each alone over what would be to what is, and whose that is."""
    named = [
        (f"{short(part, 26)} alone", stack.alone[part].ratio(stack.yardstick.metric))
        for part in stack.parts
    ]
    named += [("if they did not meet", stack.product), ("together", stack.together)]
    named += [
        (f"share of {short(part, 22)}", stack.shares[part]) for part in stack.parts if stack.shares
    ]
    return [line for label, ratio in named if (line := _line(label, ratio))]


def _line(label: str, ratio: Quantity) -> Line | None:
    if ratio.value is None:
        return None
    kind = ESTIMATED if ratio.is_estimate else NO_CLAIM
    return Line(label, ratio.value, ratio.bounds, show(ratio, suffix=TIMES), kind)


def _figure(panels: Sequence[Panel]) -> Figure:
    shown = panels[:PANELS]
    heights = [LINE_IN * (len(panel.lines) + 0.6) for panel in shown]
    grid = Grid(heights, left_in=LEFT_IN, right_in=RIGHT_IN, foot_in=0.6)
    for index, (stack, lines) in enumerate(shown):
        axes = grid.panel(index)
        draw_lines(axes, lines)
        row_texts(axes, [line.label for line in lines], "right")
        row_texts(axes, [line.shown for line in lines], "left")
        axes.set_title(
            f"{short(stack.row.label, 60)}: {stack.word}", loc="left", fontsize="medium", parse_math=False
        )  # fmt: skip
        mark = ESTIMATE if stack.together.is_estimate else ""
        axes.set_xlabel(f"{mark}{stack.yardstick.of} = 1{TIMES}", parse_math=False)
    grid.leave_out(len(panels) - PANELS)
    return grid.figure
