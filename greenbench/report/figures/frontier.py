"""``frontier.svg``: quality against energy, one panel per group that may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from greenbench.report.figures.labels import Label, Obstacles, place_labels
from greenbench.report.figures.style import (
    BLACK,
    BLUE,
    GREY,
    PANELS,
    SKY,
    VERMILLION,
    WIDTH_IN,
    Sketch,
    heading,
    log_ticks,
    svg,
)
from greenbench.report.frontier import Point, staircase
from greenbench.report.rows import Group, Row
from greenbench.report.text import TIMES, bounds, plain

KINDS: dict[str, dict[str, Any]] = {
    "on the frontier": {"marker": "*", "color": BLUE, "markersize": 13},
    "beaten": {"marker": "o", "color": VERMILLION, "markersize": 7, "fillstyle": "none"},
    "A/A run (baseline)": {"marker": "D", "color": BLACK, "markersize": 7, "fillstyle": "none"},
}
NAME, TITLE = "frontier.svg", "Quality against energy per token"
FRONTIER = "frontier"
BARS = "bars: 95 % intervals (vertical: of the change from the baseline, paired by item)"
PANEL_IN = 4.9
NAMED = 40  # the first runs of a panel; more names would hide the points
LOG_FROM = 8  # energies further apart than this ratio need a logarithmic axis
MARKER_PX = 8  # half the room a marker takes
MARGIN = 0.14  # room around the data, for labels


class Mark(NamedTuple):
    """A run as the figure draws it; an interval that is missing is a bar of no length."""

    label: str
    kind: str
    quality: float
    energy_j: float
    """J/token: the run's ratio times the group's baseline. Ratios are paired within a run, so that
    a machine that drifts between runs does not move the points against each other."""
    quality_bar: tuple[float, float]
    """Interval of the paired change, put around the run's quality: what sampled items leave open
    between baseline and candidate, not what they leave open for both alike. Cut at 0 and 100 %."""
    energy_bar: tuple[float, float]
    on_frontier: bool


class Panel(NamedTuple):
    """A group as the figure draws it."""

    group: Group
    baseline_j: float
    marks: list[Mark]


def frontier(groups: Sequence[Group]) -> list[Sketch]:
    """The figure; without any run that has both numbers it says so."""
    panels = [panel for group in groups if (panel := _panel(group))][:PANELS]
    told = " ".join(
        f"{plain(panel.group.setting.title, 150)}: on the frontier "
        f"{', '.join(mark.label for mark in panel.marks if mark.on_frontier)}."
        for panel in panels
    )
    return [Sketch(NAME, f"{TITLE}. {told}".strip(), lambda: frontier_svg(groups))]


def frontier_svg(groups: Sequence[Group]) -> bytes:
    """The figure as SVG: the same bytes for the same groups."""
    return svg(lambda: frontier_figure(groups), TITLE)


def frontier_figure(groups: Sequence[Group]) -> Figure:
    """One panel for each of the first groups with a run that has both numbers.

    Without any, a sentence saying so.
    """
    drawable = [panel for group in groups if (panel := _panel(group))]
    drawn = drawable[:PANELS]
    if not drawn:
        return _nothing()
    figure = Figure(figsize=(WIDTH_IN, PANEL_IN * len(drawn)), layout="constrained")
    places: list[Axes] = list(figure.subplots(len(drawn), 1, squeeze=False)[:, 0])
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for axes, panel in zip(places, drawn, strict=True):
        _draw_panel(axes, panel)
    _legend(figure, places)
    if len(drawable) > PANELS:
        figure.supxlabel(f"{len(drawable) - PANELS} more groups have no panel; see the tables")
    figure.draw_without_rendering()  # settles the layout, which the labels must not change again
    figure.set_layout_engine("none")
    for axes, panel in zip(places, drawn, strict=True):
        named = panel.marks[:NAMED]
        labels = [Label(mark.label, mark.energy_j, mark.quality) for mark in named]
        place_labels(figure, renderer, axes, labels, _obstacles(axes, panel.marks))
    return figure


def _nothing() -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 1.2))
    text = "No completed run has both an accuracy and an energy yet."
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _panel(group: Group) -> Panel | None:
    baseline_j = group.baseline_j
    if baseline_j is None:
        return None
    marks = [_mark(row, row.point, baseline_j) for row in group.rows if row.point]
    return Panel(group, baseline_j, marks) if marks else None


def _mark(row: Row, point: Point, baseline_j: float) -> Mark:
    member, other, again = KINDS
    ratio = bounds(row.ratio("energy_per_token")) or (point.energy, point.energy)
    moved = row.change.value or 0.0
    change = bounds(row.change) or (moved, moved)
    low, high = (point.quality - moved + bound for bound in change)
    return Mark(
        label=f"{plain(row.label, 40)}{' (flagged)' if row.flagged else ''}",
        kind=again if row.is_baseline else member if row.frontier else other,
        quality=point.quality,
        energy_j=point.energy * baseline_j,
        quality_bar=(max(0.0, low), min(100.0, high)),
        energy_bar=(ratio[0] * baseline_j, ratio[1] * baseline_j),
        on_frontier=row.frontier,
    )


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for mark in panel.marks:
        _draw(axes, mark)
    _frame(axes, panel.marks)
    _draw_staircase(axes, panel.marks)
    axes.set_title(_title(panel), loc="left", fontsize="medium", parse_math=False)
    axes.set_xlabel(_energy_axis(panel.group), parse_math=False)
    axes.set_ylabel("quality: items answered right, %")
    _ratio_axis(axes, panel.baseline_j)


def _ratio_axis(axes: Axes, baseline_j: float) -> None:
    """The same energies as ratios to the baseline, along the top."""

    def to_ratio(joules: Any) -> Any:
        return joules / baseline_j

    def to_joules(ratio: Any) -> Any:
        return ratio * baseline_j

    top = axes.secondary_xaxis("top", functions=(to_ratio, to_joules))
    if axes.get_xscale() == "log":
        log_ticks(top.xaxis)
    top.spines["top"].set_visible(False)
    top.tick_params(length=0, labelcolor=GREY, labelsize="small", pad=1)
    top.xaxis.set_major_formatter(StrMethodFormatter(f"{{x:.4g}}{TIMES}"))


def _title(panel: Panel) -> str:
    named = f"; {NAMED} of {len(panel.marks)} runs are named" if len(panel.marks) > NAMED else ""
    return f"{heading(panel.group)}{named}"


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels: what each shape, and each bar, says."""
    shown = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = [label for label in (*KINDS, FRONTIER) if label in shown]
    figure.legend(
        [shown[label] for label in labels], labels, loc="outside upper center", ncols=len(labels),
        frameon=False, title=BARS, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


def _energy_axis(group: Group) -> str:
    if group.setting.measured:
        source = f"measured: {plain(group.setting.meter, 60)}"
    else:
        source = (
            "≈ estimated from CPU time, not measured; not shown: how far off that may be as a whole"
        )
    return f"J/token at the mean baseline (top: ratio to it), less is better\n({source})"


def _draw(axes: Axes, mark: Mark) -> None:
    style = KINDS[mark.kind]
    x, y = mark.energy_j, mark.quality
    bar = {"color": style["color"], "linewidth": 1.1, "alpha": 0.7}
    axes.plot(mark.energy_bar, (y, y), **bar)
    axes.plot((x, x), mark.quality_bar, **bar)
    known = axes.get_legend_handles_labels()[1]
    axes.plot(x, y, linestyle="none", label=None if mark.kind in known else mark.kind, **style)


def _frame(axes: Axes, marks: Sequence[Mark]) -> None:
    """Limits with room for labels, and a logarithmic energy axis where the runs lie far apart."""
    energies = [end for mark in marks for end in (*mark.energy_bar, mark.energy_j)]
    if min(energies) > 0 and max(energies) > LOG_FROM * min(energies):
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
    axes.margins(x=MARGIN, y=MARGIN)
    axes.autoscale_view()
    axes.autoscale(enable=False)


def _draw_staircase(axes: Axes, marks: Sequence[Mark]) -> None:
    """The frontier, from the bottom under its first member to the right edge beyond its last.

    What lies in its shade is beaten by a member.
    """
    steps = staircase([Point(mark.quality, mark.energy_j) for mark in marks if mark.on_frontier])
    bottom, right = axes.get_ylim()[0], axes.get_xlim()[1]
    x = [steps[0].energy, *(step.energy for step in steps), right]
    y = [bottom, *(step.quality for step in steps), steps[-1].quality]
    axes.fill_between(x, y, bottom, color=SKY, alpha=0.13, linewidth=0, zorder=0.5)
    axes.plot(x, y, color=BLUE, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1.5, label=FRONTIER)


def _obstacles(axes: Axes, marks: Sequence[Mark]) -> Obstacles:
    """Markers, and the segments of interval bars and staircase, as boxes in display coordinates."""
    segments = []
    for line in axes.get_lines():
        path = axes.transData.transform(line.get_xydata())
        ends = np.minimum(path[:-1], path[1:]) - 2, np.maximum(path[:-1], path[1:]) + 2
        segments.append(np.hstack(ends))
    points = axes.transData.transform([(mark.energy_j, mark.quality) for mark in marks])
    return Obstacles(np.hstack([points - MARKER_PX, points + MARKER_PX]), np.vstack(segments))
