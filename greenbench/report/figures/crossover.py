"""``figures/crossover.svg``: each technique's ratio against batch size, prompt length and answer length."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from greenbench.analysis.energy.crossover import Crossing, crossings, told
from greenbench.analysis.groups.rows import Group
from greenbench.analysis.yardstick import ENERGY
from greenbench.report.figures.style import (
    BLACK,
    GREY,
    LINES,
    PANELS,
    Grid,
    Sketch,
    log_ticks,
    of_ratios,
    source,
    svg,
)
from greenbench.stats.intervals import MARGIN
from greenbench.wording import TIMES, plain, short

NAME = "figures/crossover.svg"
PANEL_IN, RIGHT_IN = 2.9, 1.9


def crossover_curves(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where a technique ran at two values of an axis."""
    found = crossings(groups)[:PANELS]
    if not found:
        return []
    curves = " ".join(
        f"{short(series.label, 40)} {told(series, crossing.axis)}"
        for crossing in found
        for series in crossing.series
    )
    title = "Where techniques stop paying"
    return [Sketch(NAME, f"{title}. {curves}", lambda: svg(lambda: crossover_figure(found), title))]


def crossover_figure(found: Sequence[Crossing]) -> Figure:
    """One panel per axis and place; a curve per technique, a bar per interval."""
    grid = Grid([PANEL_IN] * len(found), left_in=1.0, right_in=RIGHT_IN, foot_in=0.8)
    for index, crossing in enumerate(found):
        _draw(grid.panel(index), crossing)
    return grid.figure


def _draw(axes: Axes, crossing: Crossing) -> None:
    shown = crossing.series[: len(LINES)]
    for place, (series, (color, dashes, marker)) in enumerate(zip(shown, LINES, strict=False)):
        nudge = 1 + 0.025 * (place - (len(shown) - 1) / 2)  # bars at one value stay apart
        at = [point.at * nudge for point in series.points]
        ratios = [point.ratio.value or 0.0 for point in series.points]
        label = textwrap.fill(plain(series.label, 60), 20)
        axes.plot(at, ratios, color=color, linestyle=dashes, marker=marker, markersize=6,
                  fillstyle="full" if crossing.setting.claims else "none", label=label)  # fmt: skip
        for x, point in zip(at, series.points, strict=True):
            interval = point.ratio.bounds
            if interval:
                axes.plot([x, x], interval, color=color, linewidth=1.1)
    _scales(axes, crossing)
    _words(axes, crossing)


def _scales(axes: Axes, crossing: Crossing) -> None:
    values = sorted({point.at for series in crossing.series for point in series.points})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.8), max(high, 1.25))
    log_ticks(axes.yaxis, f"{{x:g}}{TIMES}", of_ratios(low, high))
    axes.axhline(1, color=BLACK, linewidth=1)
    axes.axhspan(1 / (1 + MARGIN), 1 + MARGIN, color=GREY, alpha=0.18, linewidth=0)


def _words(axes: Axes, crossing: Crossing) -> None:
    setting = crossing.setting
    energy = crossing.yardstick is ENERGY
    tier = f"tier {plain(setting.tier)}" + ("" if setting.claims else ": no claims")
    lines = (setting.place, f"{crossing.rest}; {tier}")
    axes.set_title("\n".join(plain(line, 88) for line in lines), loc="left", fontsize="medium",
                   parse_math=False)  # fmt: skip
    axes.set_ylabel(
        f"{'J/token' if energy else 'tokens/s'} ratio,\n{'less' if energy else 'more'} is better"
    )
    left_out = len(crossing.series) - len(LINES)
    more = f"; {left_out} more are in the table" if left_out > 0 else ""
    note = source(setting) if energy else "speed is measured; joules are estimated"
    axes.set_xlabel(f"{crossing.axis.noun}, {crossing.axis.unit}\n({note}{more})", parse_math=False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
                         fontsize="small")  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
