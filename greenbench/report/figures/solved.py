"""``figures/solved.svg``: joules per solved problem of every run, and which of its factors moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PANELS,
    Grid,
    Sketch,
    heading,
    log_ticks,
    of_ratios,
    row_texts,
    source,
    svg,
)
from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    SHARE_SOLVED,
    TOKENS_PER_ANSWER,
)
from greenbench.schema.quantity import Quantity, said
from greenbench.schema.solved import Solving
from greenbench.wording import TIMES, plain, short

NAME: Final = "figures/solved.svg"
RUNS: Final = 40
LINE_IN, LEFT_IN, RIGHT_IN = 0.5, 2.1, 1.75


class Part(NamedTuple):
    """A factor, or what they make."""

    title: str
    name: str
    color: str
    marker: str
    upside_down: bool = False
    """Drawn as 1 over it: what is solved less often costs more."""


PARTS: Final = (
    Part("J/token", ENERGY_PER_TOKEN.ratio, BLUE, "o"),
    Part("tokens per answer", TOKENS_PER_ANSWER.ratio, ORANGE, "s"),
    Part("1 / share solved", SHARE_SOLVED.ratio, GREEN, "^", upside_down=True),
    Part("J per solved", ENERGY_PER_SOLVED.ratio, BLACK, "D"),
)


class Line(NamedTuple):
    """One run."""

    label: str
    ratio: Solving


def solved_factors(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where answers were graded."""
    panels = [(group, lines) for group in groups if (lines := _lines(group))]
    if not panels:
        return []
    told = " ".join(
        f"{plain(group.setting.title, 150)}: {'; '.join(map(_told, lines[:RUNS]))}."
        for group, lines in panels[:PANELS]
    )
    title = "Joules per solved problem over the baseline's, and the factors that make it"
    return [Sketch(NAME, f"{title}. {told}", lambda: svg(lambda: solved_figure(groups), title))]


def solved_figure(groups: Sequence[Group]) -> Figure:
    """One panel for each of the first groups with graded answers."""
    found = [(group, lines) for group in groups if (lines := _lines(group))]
    panels = found[:PANELS]
    heights = [LINE_IN * (min(len(lines), RUNS) + 0.4) for _, lines in panels]
    grid = Grid(heights, left_in=LEFT_IN, right_in=RIGHT_IN, foot_in=1.15)
    for index, (group, lines) in enumerate(panels):
        _draw(grid.panel(index), group, lines[:RUNS])
    grid.leave_out(len(found) - PANELS)
    return grid.figure


def _lines(group: Group) -> list[Line]:
    found = [_line(row) for row in group.rows if row.record.solved]
    return sorted(found, key=lambda line: (line.ratio.energy_per_solved.value or 1e9, line.label))


def _line(row: Row) -> Line:
    return Line(short(row.label, 24), row.record.solved[-1].ratio)


def _told(line: Line) -> str:
    parts = (f"{part.title} {said(_turned(part, line.ratio), suffix=TIMES)}" for part in PARTS)
    return f"{line.label}: {', '.join(parts)}"


def _turned(part: Part, ratio: Solving) -> Quantity:
    """As it is drawn."""
    found: Quantity = getattr(ratio, part.name)
    if not part.upside_down or not found.value:
        return found
    low, high = (1 / end if end else None for end in (found.high, found.low))
    reason = found.reason or ("the share may be 0" if None in (low, high) else None)
    update = {"value": 1 / found.value, "low": low, "high": high, "reason": reason}
    return found.model_copy(update=update)


def _draw(axes: Axes, group: Group, lines: Sequence[Line]) -> None:
    ends: list[float] = []
    for place, part in enumerate(PARTS):
        shift = (place - (len(PARTS) - 1) / 2) * 0.19
        found = [(row, _turned(part, line.ratio)) for row, line in enumerate(lines)]
        known = [(row + shift, each) for row, each in found if each.value]
        bars = [(y, *each.bounds) for y, each in known if each.bounds and each.bounds[0] > 0]
        if bars:
            axes.hlines(*zip(*bars, strict=True), color=part.color, linewidth=1.5)
        if known:
            values = [each.value or 0.0 for _, each in known]
            axes.plot(
                values,
                [y for y, _ in known],
                part.marker,
                color=part.color,
                markersize=5.5,
                linestyle="none",
                label=part.title,
            )
        ends += [end for _, each in known for end in (each.value or 1.0, *(each.bounds or ()))]
    row_texts(axes, [line.label for line in lines], "right")
    row_texts(axes, [_shown(line) for line in lines], "left")
    axes.set_ylim(len(lines) - 0.5, -0.6)
    positive = [end for end in ends if end > 0]
    low, high = min(0.5, *positive, 1.0) / 1.1, max(1.5, *positive, 1.0) * 1.1
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_ticks(axes.xaxis, f"{{x:g}}{TIMES}", of_ratios(low, high))
    axes.tick_params(axis="x", labelsize="small")
    axes.axvline(1, color=BLACK, linewidth=1)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.62 / _height_in(axes)),
        ncols=len(PARTS),
        fontsize="small",
        frameon=False,
    )
    axes.set_title(heading(group, 96), loc="left", x=(0.1 - LEFT_IN) / _width_in(axes), y=1,
                   fontsize="medium", parse_math=False)  # fmt: skip
    axes.set_xlabel(
        f"over the baseline's, less is better ({source(group.setting)})",
        parse_math=False,
        fontsize="small",
    )


def _shown(line: Line) -> str:
    found = line.ratio.energy_per_solved
    return said(found, lambda reason, words: "", suffix=TIMES).strip() + (
        " unbounded" if found.value is None else ""
    )


def _width_in(axes: Axes) -> float:
    return float(axes.get_position().width * axes.get_figure(root=True).get_figwidth())  # type: ignore[union-attr]


def _height_in(axes: Axes) -> float:
    return float(axes.get_position().height * axes.get_figure(root=True).get_figheight())  # type: ignore[union-attr]
