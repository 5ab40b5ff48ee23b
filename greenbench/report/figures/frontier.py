"""``frontier.svg``: quality against energy, or time where joules are not measured, a panel per group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from greenbench.analysis.frontiers.frontier import Point, staircase
from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.figures.label_placement import Label, Obstacles, place_labels
from greenbench.report.figures.style import (
    BLACK,
    BLUE,
    GREY,
    PANELS,
    SKY,
    VERMILLION,
    WIDTH_IN,
    Grid,
    Sketch,
    heading,
    in_decade,
    log_ticks,
    svg,
)
from greenbench.schema.metrics import ENERGY_PER_SOLVED, ENERGY_PER_TOKEN, SECONDS_PER_TOKEN, Metric
from greenbench.wording import TIMES, plain, short

KINDS: dict[str, dict[str, Any]] = {
    "on the frontier": {"marker": "*", "color": BLUE, "markersize": 13},
    "beaten": {"marker": "o", "color": VERMILLION, "markersize": 7, "fillstyle": "none"},
    "A/A run (baseline)": {"marker": "D", "color": BLACK, "markersize": 7, "fillstyle": "none"},
}
NAME = "frontier.svg"
PER: Final[Mapping[Metric, str]] = {
    ENERGY_PER_TOKEN: "J/token",
    ENERGY_PER_SOLVED: "J per solved problem",
    SECONDS_PER_TOKEN: "seconds per token",
}
SUBJECTS: Final[Mapping[Metric, str]] = {
    ENERGY_PER_TOKEN: "energy per token",
    ENERGY_PER_SOLVED: "energy per solved problem",
    SECONDS_PER_TOKEN: "time per token",
}
FRONTIER = "frontier"
BARS = "bars: 95 % intervals (vertical: of the change from the baseline, paired by item)"
PANEL_IN, LINE_IN = 3.5, 0.175  # a panel's axes, a line of its title
NAMED = 40  # the first runs of a panel; more names would hide the points
LOG_FROM = 8  # energies further apart than this ratio need a logarithmic axis
MARKER_PX = 8  # half the room a marker takes
MARGIN = 0.14  # room around the data, for labels


class Mark(NamedTuple):
    """A run as the figure draws it; an interval that is missing is a bar of no length."""

    label: str
    kind: str
    quality: float
    cost: float
    """On the frontier's axis: the run's ratio times the group's baseline. Ratios are paired within a run,
    so that a machine that drifts between runs does not move the points against each other."""
    quality_bar: tuple[float, float]
    """Interval of the paired change, put around the run's quality: what sampled items leave open
    between baseline and candidate, not what they leave open for both alike. Cut at 0 and 100 %."""
    cost_bar: tuple[float, float]
    on_frontier: bool


class Panel(NamedTuple):
    """A group as the figure draws it."""

    group: Group
    baseline_level: float
    marks: list[Mark]


def frontier(groups: Sequence[Group]) -> list[Sketch]:
    """The figure; without any run that has both numbers it says so."""
    panels = _panels(groups)[:PANELS]
    told = " ".join(
        f"{plain(panel.group.setting.title, 150)}: on the frontier "
        f"{', '.join(mark.label for mark in panel.marks if mark.on_frontier)}."
        for panel in panels
    )
    return [Sketch(NAME, f"{_subject(panels)}. {told}".strip(), lambda: frontier_svg(groups))]


def frontier_svg(groups: Sequence[Group]) -> bytes:
    """The figure as SVG: the same bytes for the same groups."""
    return svg(lambda: frontier_figure(groups), _subject(_panels(groups)))


def frontier_figure(groups: Sequence[Group]) -> Figure:
    """One panel for each of the first groups with a run that has both numbers.

    Without any, a sentence saying so.
    """
    drawable = _panels(groups)
    drawn = drawable[:PANELS]
    if not drawn:
        return _nothing()
    lines = max(_title(panel).count("\n") + 1 for panel in drawn)
    grid = Grid(
        [PANEL_IN] * len(drawn), left_in=0.65, head_in=0.3 + LINE_IN * lines, foot_in=0.75,
        top_in=0.5,
    )  # fmt: skip
    renderer = FigureCanvasAgg(grid.figure).get_renderer()  # type: ignore[no-untyped-call]
    for index, panel in enumerate(drawn):
        axes = grid.panel(index)
        _draw_panel(axes, panel)
        named = panel.marks[:NAMED]
        labels = [Label(mark.label, mark.cost, mark.quality) for mark in named]
        place_labels(grid.figure, renderer, axes, labels, _obstacles(axes, panel.marks))
    _legend(grid.figure)
    grid.leave_out(len(drawable) - PANELS)
    return grid.figure


def _nothing() -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 1.2))
    text = "No completed run has both an accuracy and a ratio yet."
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _subject(panels: Sequence[Panel]) -> str:
    drawn = {panel.group.axis for panel in panels[:PANELS]}
    subjects = [words for metric, words in SUBJECTS.items() if metric in drawn]
    return f"Quality against {' and '.join(subjects) or SUBJECTS[ENERGY_PER_TOKEN]}"


def _panels(groups: Sequence[Group]) -> list[Panel]:
    return [panel for group in groups if (panel := _panel(group))]


def _panel(group: Group) -> Panel | None:
    baseline_level = group.baseline_level
    if baseline_level is None:
        return None
    marks = [_mark(row, row.point, baseline_level) for row in group.rows if row.point]
    return Panel(group, baseline_level, marks) if marks else None


def _mark(row: Row, point: Point, baseline_level: float) -> Mark:
    member, other, again = KINDS
    ratio = row.ratio(row.axis).bounds or (point.cost, point.cost)
    moved = row.change.value or 0.0
    change = row.change.bounds or (moved, moved)
    low, high = (point.quality - moved + bound for bound in change)
    return Mark(
        label=f"{short(row.label, 40)}{' (flagged)' if row.flagged else ''}",
        kind=again if row.is_baseline else member if row.frontier else other,
        quality=point.quality,
        cost=point.cost * baseline_level,
        quality_bar=(max(0.0, low), min(100.0, high)),
        cost_bar=(ratio[0] * baseline_level, ratio[1] * baseline_level),
        on_frontier=row.frontier,
    )


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for kind, style in KINDS.items():
        _draw(axes, [mark for mark in panel.marks if mark.kind == kind], kind, style)
    _frame(axes, panel.marks)
    _draw_staircase(axes, panel.marks)
    axes.set_title(_title(panel), loc="left", y=1, pad=19, fontsize="medium", parse_math=False)
    axes.set_xlabel(_cost_axis(panel.group), parse_math=False)
    axes.set_ylabel("quality: items answered right, %")
    _ratio_axis(axes, panel.baseline_level)


def _ratio_axis(axes: Axes, baseline_level: float) -> None:
    """The same energies as ratios to the baseline, along the top.

    A secondary axis looks the same, and takes several times as long to draw.
    """
    low, high = (limit / baseline_level for limit in axes.get_xlim())
    logarithmic = axes.get_xscale() == "log"
    ticks = (
        LogLocator(subs=in_decade(low, high))
        if logarithmic
        else MaxNLocator(9, steps=[1, 2, 2.5, 5, 10])
    )
    for ratio in ticks.tick_values(low, high):
        if low <= ratio <= high:
            axes.text(ratio * baseline_level, 1, f"{ratio:.4g}{TIMES}", color=GREY, fontsize="small",
                      ha="center", va="bottom", transform=axes.get_xaxis_transform())  # fmt: skip


def _title(panel: Panel) -> str:
    named = f"; {NAMED} of {len(panel.marks)} runs are named" if len(panel.marks) > NAMED else ""
    return f"{heading(panel.group)}{named}"


def _legend(figure: Figure) -> None:
    """One legend for all panels: what each shape, and each bar, says."""
    shown = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = [label for label in (*KINDS, FRONTIER) if label in shown]
    figure.legend(
        [shown[label] for label in labels], labels, loc="upper center", ncols=len(labels),
        frameon=False, title=BARS, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


def _cost_axis(group: Group) -> str:
    if group.axis is SECONDS_PER_TOKEN:
        source = "measured by the clock, as joules here are not measured"
    elif group.setting.measured:
        source = f"measured: {plain(group.setting.meter, 60)}"
    else:
        source = (
            "≈ estimated from CPU time, not measured; not shown: how far off that may be as a whole"
        )
    per = PER[group.axis]
    return f"{per} at the mean baseline (top: ratio to it), less is better\n({source})"


def _draw(axes: Axes, marks: Sequence[Mark], kind: str, style: Mapping[str, Any]) -> None:
    """All runs of a kind, as one artist of each sort: each takes as long to draw as many points."""
    if not marks:
        return
    x, y = [mark.cost for mark in marks], [mark.quality for mark in marks]
    bar = {"color": style["color"], "linewidth": 1.1, "alpha": 0.7}
    axes.hlines(y, *zip(*(mark.cost_bar for mark in marks), strict=True), **bar)
    axes.vlines(x, *zip(*(mark.quality_bar for mark in marks), strict=True), **bar)
    axes.plot(x, y, linestyle="none", label=kind, **style)


def _frame(axes: Axes, marks: Sequence[Mark]) -> None:
    """Limits with room for labels, and a logarithmic energy axis where the runs lie far apart."""
    energies = [end for mark in marks for end in (*mark.cost_bar, mark.cost)]
    if min(energies) > 0 and max(energies) > LOG_FROM * min(energies):
        axes.set_xscale("log")
        log_ticks(axes.xaxis, subs=in_decade(min(energies), max(energies)))
    axes.margins(x=MARGIN, y=MARGIN)
    axes.autoscale_view()
    axes.autoscale(enable=False)


def _draw_staircase(axes: Axes, marks: Sequence[Mark]) -> None:
    """The frontier, from the bottom under its first member to the right edge beyond its last.

    What lies in its shade is beaten by a member.
    """
    x, y = _steps(axes, marks)
    bottom = axes.get_ylim()[0]
    axes.fill_between(x, y, bottom, color=SKY, alpha=0.13, linewidth=0, zorder=0.5)
    axes.plot(x, y, color=BLUE, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1.5, label=FRONTIER)


def _steps(axes: Axes, marks: Sequence[Mark]) -> tuple[list[float], list[float]]:
    steps = staircase([Point(mark.quality, mark.cost) for mark in marks if mark.on_frontier])
    bottom, right = axes.get_ylim()[0], axes.get_xlim()[1]
    x = [steps[0].cost, *(step.cost for step in steps), right]
    return x, [bottom, *(step.quality for step in steps), steps[-1].quality]


def _obstacles(axes: Axes, marks: Sequence[Mark]) -> Obstacles:
    """Markers, and the segments of interval bars and staircase, as boxes in display coordinates."""
    steps = list(zip(*_steps(axes, marks), strict=True))
    bars = [((low, mark.quality), (high, mark.quality)) for mark in marks
            for low, high in [mark.cost_bar]]  # fmt: skip
    bars += [((mark.cost, low), (mark.cost, high)) for mark in marks
             for low, high in [mark.quality_bar]]  # fmt: skip
    ends = np.array([*bars, *pairwise(steps)])
    ends = axes.transData.transform(ends.reshape(-1, 2)).reshape(-1, 2, 2)
    points = axes.transData.transform([(mark.cost, mark.quality) for mark in marks])
    return Obstacles(
        np.hstack([points - MARKER_PX, points + MARKER_PX]),
        np.hstack([ends.min(axis=1) - 2, ends.max(axis=1) + 2]),
    )
