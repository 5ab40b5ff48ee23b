"""``figures/forest.svg``: every run's energy ratio with its interval and verdict, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PANELS,
    VERMILLION,
    Grid,
    Sketch,
    heading,
    log_ticks,
    of_ratios,
    row_texts,
    source,
    svg,
)
from greenbench.report.markdown.format import show
from greenbench.schema.metrics import ENERGY_PER_TOKEN, Metric
from greenbench.stats.intervals import MARGIN
from greenbench.wording import ESTIMATE, TIMES, plain, short

NAME = "figures/forest.svg"
RUNS = 60  # in one panel
LINE_IN, LEFT_IN, RIGHT_IN = 0.27, 2.3, 2.75
NO_CLAIM, ESTIMATED = "no claim", "estimate"
KINDS: dict[str, dict[str, Any]] = {
    "saves": {"marker": "v", "color": BLUE},
    "costs": {"marker": "^", "color": VERMILLION},
    "equivalent": {"marker": "s", "color": GREEN},
    "inconclusive": {"marker": "o", "color": BLACK},
    NO_CLAIM: {"marker": "o", "color": GREY, "fillstyle": "none"},
    ESTIMATED: {"marker": "D", "color": GREY, "fillstyle": "none"},
}
"""A verdict's marker; what carries no claim is open."""


class Line(NamedTuple):
    """One run's line."""

    label: str
    ratio: float
    interval: tuple[float, float] | None
    shown: str
    kind: str


def forest(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where a run has an energy ratio."""
    panels = [(group, lines) for group in groups if (lines := _lines(group))]
    if not panels:
        return []
    said = "J/token of each run over its baseline's, 95 % intervals. " + " ".join(
        f"{plain(group.setting.title, 150)}: {_told(lines)}." for group, lines in panels[:PANELS]
    )
    title = "J/token of each run over its baseline's"
    return [Sketch(NAME, said, lambda: svg(lambda: forest_figure(groups), title))]


def forest_figure(groups: Sequence[Group]) -> Figure:
    """One panel for each of the first groups with an energy ratio."""
    found = [(group, lines) for group in groups if (lines := _lines(group))]
    panels = found[:PANELS]
    heights = [LINE_IN * (min(len(lines), RUNS) + 0.6) for _, lines in panels]
    grid = Grid(heights, left_in=LEFT_IN, right_in=RIGHT_IN, foot_in=0.78)
    for index, (group, lines) in enumerate(panels):
        _draw(grid.panel(index), group, lines[:RUNS], len(lines) - RUNS)
    grid.leave_out(len(found) - PANELS)
    return grid.figure


def _lines(group: Group) -> list[Line]:
    found = [_line(row) for row in group.rows]
    return sorted((line for line in found if line), key=lambda line: (line.ratio, line.label))


def _line(row: Row) -> Line | None:
    label = f"{short(row.label, 22)}{' (flagged)' if row.flagged else ''}"
    return line(row, ENERGY_PER_TOKEN, label)


def line(row: Row, metric: Metric, label: str) -> Line | None:
    """The run's line by the ratio of `metric`; null where it has none."""
    quantity = row.ratio(metric)
    if quantity.value is None or quantity.value <= 0:
        return None
    kind, shown = _kind(row, metric), show(quantity, suffix=TIMES)
    shown = shown if quantity.bounds else f"{shown.partition(' ')[0]} (no interval)"
    return Line(label, quantity.value, quantity.bounds, f"{shown}, {kind}", kind)


def _kind(row: Row, metric: Metric) -> str:
    if row.ratio(metric).is_estimate:
        return ESTIMATED
    verdict = row.verdicts.get(metric.ratio)
    return NO_CLAIM if verdict is None or verdict.barred else verdict.verdict


def _told(lines: Sequence[Line]) -> str:
    return "; ".join(f"{line.label} {line.shown}" for line in lines[:RUNS])


def _draw(axes: Axes, group: Group, lines: Sequence[Line], left_out: int) -> None:
    draw_lines(axes, lines)
    row_texts(axes, [line.label for line in lines], "right")
    row_texts(axes, [line.shown for line in lines], "left")
    _words(axes, group, lines, left_out)


def draw_lines(axes: Axes, lines: Sequence[Line | None]) -> None:
    """A marker and an interval for each, from the top down; an empty line where there is none."""
    placed = [(place, line) for place, line in enumerate(lines) if line]
    for kind, style in KINDS.items():
        mine = [(place, line) for place, line in placed if line.kind == kind]
        bars = [(place, *line.interval) for place, line in mine if line.interval]
        if bars:
            axes.hlines(*zip(*bars, strict=True), color=style["color"], linewidth=1.4)
        if mine:
            ratios, places = [line.ratio for _, line in mine], [place for place, _ in mine]
            axes.plot(ratios, places, linestyle="none", markersize=7, label=kind, **style)
    axes.set_ylim(len(lines) - 0.5, -0.8)
    _scale(axes, [line for _, line in placed])
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize="small")


def _scale(axes: Axes, lines: Sequence[Line]) -> None:
    """Ratios multiply, so that their axis is logarithmic; from half to a quarter more is always on it."""
    ends = [end for line in lines for end in line.interval or (line.ratio,)]
    low, high = min([0.5, *ends]) / 1.08, max([1.25, *ends]) * 1.08
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_ticks(axes.xaxis, f"{{x:g}}{TIMES}", of_ratios(low, high))
    axes.axvline(1, color=BLACK, linewidth=1)
    axes.axvspan(1 / (1 + MARGIN), 1 + MARGIN, color=GREY, alpha=0.18, linewidth=0)


def _words(axes: Axes, group: Group, lines: Sequence[Line], left_out: int) -> None:
    more = f"; {left_out} more runs are in the tables" if left_out > 0 else ""
    mark = (
        ESTIMATE
        if group.rows and any(row.ratio(ENERGY_PER_TOKEN).is_estimate for row in group.rows)
        else ""
    )
    axes.set_title(heading(group, 96), loc="left", x=(0.1 - LEFT_IN) / _width_in(axes), y=1,
                   fontsize="medium", parse_math=False)  # fmt: skip
    axes.set_xlabel(
        f"{mark}J/token over the baseline's, less is better; grey: within 2 %{more}\n"
        f"({source(group.setting)})",
        parse_math=False,
    )


def _width_in(axes: Axes) -> float:
    return float(axes.get_position().width * axes.get_figure(root=True).get_figwidth())  # type: ignore[union-attr]
