"""``figures/phases.svg``: joules of one request by phase, beside those spent once, for every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from greenbench.analysis.energy.energy_by_phase import Phases, phases
from greenbench.analysis.groups.rows import Group
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
    row_texts,
    source,
    svg,
)
from greenbench.schema.quantity import Quantity
from greenbench.wording import ESTIMATE, number, plain, short

NAME = "figures/phases.svg"
RUNS = 60  # in one panel
LINE_IN, LEFT_IN = 0.27, 2.1
BAR = 0.62  # of a row
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
        for panel in panels[:PANELS]
    )
    said = f"Joules by phase, per request. {told}"
    return [Sketch(NAME, said, lambda: svg(lambda: _drawn(panels), "Joules by phase"))]


def phases_figure(groups: Sequence[Group]) -> Figure:
    """Per group: stacked bars of a request, and what was spent once on a logarithmic axis."""
    return _drawn(_panels(groups))


def _drawn(found: Sequence[Panel]) -> Figure:
    panels = found[:PANELS]
    heights = [LINE_IN * (min(len(panel.runs), RUNS) + 0.6) for panel in panels]
    grid = Grid(heights, left_in=LEFT_IN, head_in=0.9, foot_in=0.8)
    for index, panel in enumerate(panels):
        request = grid.panel(index, end=SPLIT)
        _request(request, panel)
        _once(grid.panel(index, start=SPLIT + 0.05, sharey=request), panel)
    grid.leave_out(len(found) - PANELS)
    return grid.figure


def _panels(groups: Sequence[Group]) -> list[Panel]:
    found = (
        Panel(group, [each for row in group.rows if (each := phases(row))]) for group in groups
    )
    return [panel for panel in found if panel.runs]


def _told(each: Phases) -> str:
    parts = (f"{word} {_brief(q)}" for word, q in ((PREFILL, each.prefill), (DECODE, each.decode)))
    return f"{short(each.row.label, 40)} {', '.join(parts)}"


def _brief(quantity: Quantity) -> str:
    if quantity.value is None:
        return "not known"
    return f"{ESTIMATE if quantity.is_estimate else ''}{number(quantity.value)} J"


def _request(axes: Axes, panel: Panel) -> None:
    """Prefill and decode stacked; a stroke where the baseline is, a diamond at the idle draw."""
    runs = panel.runs[:RUNS]
    _bars(axes, runs)
    _marks(axes, [each.baseline for each in runs], "|", BLACK, markersize=15, markeredgewidth=2)
    _marks(axes, [each.idle for each in runs], "d", BLACK, markersize=5)
    row_texts(axes, [short(each.row.label, 26) for each in runs], "right")
    axes.set_ylim(len(runs) - 0.5, -0.7)
    axes.set_xlim(left=0)
    axes.set_title(heading(panel.group, 96), loc="left", x=-0.5, y=1, pad=24, fontsize="medium",
                   parse_math=False)  # fmt: skip
    more = len(panel.runs) - RUNS
    note = f"; {more} more runs are in the table" if more > 0 else ""
    axes.set_xlabel(f"J per request\n({source(panel.group.setting)}{note})", parse_math=False)
    _legend(axes, panel)


def _bars(axes: Axes, runs: Sequence[Phases]) -> None:
    """Prefill, decode beside it, and the interval of decode at its end."""
    prefill = [each.prefill.value or 0.0 for each in runs]
    both = [start + (each.decode.value or 0.0) for start, each in zip(prefill, runs, strict=True)]
    faint = [0.45 if each.decode.is_estimate else 1.0 for each in runs]
    _boxes(axes, [0.0] * len(runs), prefill, BLUE, faint, hatch="///")
    _boxes(axes, prefill, both, ORANGE, faint)
    axes.autoscale_view()
    known = [(place, each.decode.bounds) for place, each in enumerate(runs)]
    bars = [(place, *(prefill[place] + end for end in ends)) for place, ends in known if ends]
    if bars:
        axes.hlines(*zip(*bars, strict=True), color=GREY, linewidth=1.1)


def _boxes(
    axes: Axes,
    starts: Sequence[float],
    ends: Sequence[float],
    color: str,
    faint: Sequence[float],
    hatch: str | None = None,
) -> None:
    """A box in each row, all as one artist: a bar each would take longer than all else here."""
    low, high = -BAR / 2, BAR / 2
    corners = [
        [(start, place + low), (end, place + low), (end, place + high), (start, place + high)]
        for place, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    axes.add_collection(
        PolyCollection(
            corners,
            facecolors=[(color, alpha) for alpha in faint],
            edgecolors=[("white", alpha) for alpha in faint],
            hatch=hatch,
        )
    )


def _marks(axes: Axes, values: Sequence[Quantity], marker: str, color: str, **style: Any) -> None:
    """A marker in the row of each quantity that is known, and that the axis can show."""
    least = float("-inf") if axes.get_xscale() == "linear" else 0.0
    known = [(q.value, place) for place, q in enumerate(values)
             if q.value is not None and q.value > least]  # fmt: skip
    if known:
        axes.plot(*zip(*known, strict=True), linestyle="none", marker=marker, color=color,
                  fillstyle="none", **style)  # fmt: skip


def _legend(axes: Axes, panel: Panel) -> None:
    faint = 0.45 if any(each.decode.is_estimate for each in panel.runs) else 1.0
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
    runs = panel.runs[:RUNS]
    axes.set_xscale("log")
    _marks(axes, [each.score for each in runs], "o", GREEN, markeredgewidth=1.5)
    _marks(axes, [each.prepare for each in runs], "s", PURPLE, markeredgewidth=1.5)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlabel("J once, in the run")
