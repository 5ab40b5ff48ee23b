"""``figures/phases.svg``: joules of one request by phase, beside those spent once, for every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from greenbench.quantities import Quantity
from greenbench.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PANELS,
    PURPLE,
    Grid,
    Sketch,
    heading,
    source,
    svg,
)
from greenbench.report.phases import Phases, phases
from greenbench.report.rows import Group
from greenbench.report.text import ESTIMATE, bounds, estimated, number, plain

NAME = "figures/phases.svg"
RUNS = 60  # in one panel
LINE_IN, LEFT_IN = 0.27, 2.1
SPLIT = 0.6  # of the width, for what a request takes
PREFILL, DECODE = "prefill", "decode"
BASELINE, IDLE = "baseline, both together", "idle meanwhile"
SCORE, PREPARE = "scoring, once", "preparation, once"


class Panel(NamedTuple):
    """A group as the figure draws it."""

    group: Group
    runs: list[Phases]


def energy_by_phase(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where a run has joules by phase."""
    panels = _panels(groups)
    if not panels:
        return []
    told = " ".join(
        f"{plain(panel.group.setting.title, 150)}: {'; '.join(map(_told, panel.runs[:RUNS]))}."
        for panel in panels
    )
    said = f"Joules by phase, per request. {told}"
    return [Sketch(NAME, said, lambda: svg(lambda: _drawn(panels), "Joules by phase"))]


def phases_figure(groups: Sequence[Group]) -> Figure:
    """Per group: stacked bars of a request, and what was spent once on a logarithmic axis."""
    return _drawn(_panels(groups))


def _drawn(panels: Sequence[Panel]) -> Figure:
    heights = [LINE_IN * (min(len(panel.runs), RUNS) + 0.6) for panel in panels]
    grid = Grid(heights, left_in=LEFT_IN, head_in=0.9, foot_in=0.8)
    for index, panel in enumerate(panels):
        request = grid.panel(index, end=SPLIT)
        _request(request, panel)
        _once(grid.panel(index, start=SPLIT + 0.05, sharey=request), panel)
    return grid.figure


def _panels(groups: Sequence[Group]) -> list[Panel]:
    found = (
        Panel(group, [each for row in group.rows if (each := phases(row))]) for group in groups
    )
    return [panel for panel in found if panel.runs][:PANELS]


def _told(each: Phases) -> str:
    parts = (f"{word} {_brief(q)}" for word, q in ((PREFILL, each.prefill), (DECODE, each.decode)))
    return f"{plain(each.row.label, 40)} {', '.join(parts)}"


def _brief(quantity: Quantity) -> str:
    if quantity.value is None:
        return "not known"
    return f"{ESTIMATE if estimated(quantity) else ''}{number(quantity.value)} J"


def _request(axes: Axes, panel: Panel) -> None:
    """Prefill and decode stacked; a stroke where the baseline is, a diamond at the idle draw."""
    runs = panel.runs[:RUNS]
    for place, each in enumerate(runs):
        prefill, decode = each.prefill.value or 0.0, each.decode.value or 0.0
        faint = 0.45 if estimated(each.decode) else 1.0
        axes.barh(place, prefill, 0.62, color=BLUE, alpha=faint, hatch="///", edgecolor="white")
        axes.barh(place, decode, 0.62, left=prefill, color=ORANGE, alpha=faint, edgecolor="white")
        interval = bounds(each.decode)
        if interval:
            axes.plot([prefill + end for end in interval], [place] * 2, color=GREY, linewidth=1.1)
        _mark(axes, each.baseline, place, "|", markersize=15, markeredgewidth=2)
        _mark(axes, each.idle, place, "d", markersize=5, fillstyle="none")
    labels = [plain(each.row.label, 26) for each in runs]
    axes.set_yticks(range(len(runs)), labels, parse_math=False, fontsize="small")
    axes.set_ylim(len(runs) - 0.5, -0.7)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_title(heading(panel.group, 96), loc="left", x=-0.5, pad=24, fontsize="medium",
                   parse_math=False)  # fmt: skip
    more = len(panel.runs) - RUNS
    note = f"; {more} more runs are in the table" if more > 0 else ""
    axes.set_xlabel(f"J per request\n({source(panel.group.setting)}{note})", parse_math=False)
    _legend(axes, panel)


def _mark(axes: Axes, quantity: Quantity, place: int, marker: str, **style: Any) -> None:
    if quantity.value is not None:
        axes.plot(quantity.value, place, marker, color=BLACK, **style)


def _legend(axes: Axes, panel: Panel) -> None:
    faint = 0.45 if any(estimated(each.decode) for each in panel.runs) else 1.0
    handles = [
        Patch(facecolor=BLUE, hatch="///", edgecolor="white", alpha=faint, label=PREFILL),
        Patch(facecolor=ORANGE, alpha=faint, label=DECODE),
        _key(BASELINE, "|", BLACK),
        _key(IDLE, "d", BLACK),
        _key(SCORE, "o", GREEN),
        _key(PREPARE, "s", PURPLE),
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.52, 1.0), ncols=6, frameon=False,
        fontsize="small", columnspacing=0.9, handletextpad=0.2, handlelength=1.2, borderpad=0.1,
    )  # fmt: skip


def _key(label: str, marker: str, color: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, color=color, fillstyle="none", label=label,
                  markeredgewidth=2 if marker == "|" else 1.2)  # fmt: skip


def _once(axes: Axes, panel: Panel) -> None:
    """Scoring and preparation, each once in the run, on a logarithmic axis."""
    for place, each in enumerate(panel.runs[:RUNS]):
        for quantity, marker, color in ((each.score, "o", GREEN), (each.prepare, "s", PURPLE)):
            if quantity.value and quantity.value > 0:
                axes.plot(quantity.value, place, marker, color=color, fillstyle="none",
                          markeredgewidth=1.5)  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("J once, in the run")
