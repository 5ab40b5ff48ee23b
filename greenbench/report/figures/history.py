"""The same run over many nights: its numbers by the versions that they were measured with, and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenbench.analysis.choices.history import Series, Watched, changes
from greenbench.report.figures.style import (
    BLACK,
    BLUE,
    GREY,
    PANELS,
    VERMILLION,
    Grid,
    Sketch,
    svg,
)
from greenbench.stats.intervals import from_logs
from greenbench.wording import change, plain, short

NAME: Final = "history.svg"
TITLE: Final = "The same run over many nights"
PANEL_IN, LEFT_IN, FOOT_IN = 1.3, 0.95, 0.85
NAMED: Final = 2
"""Versions that one tick names."""
WHOSE: Final = {
    "ratio": "candidate over baseline",
    "baseline": "baseline",
    "candidate": "candidate",
}


def history(watched: Watched) -> Sketch | None:
    """The figure, a panel for each number, those that stepped first; null where nothing was watched."""
    found = sorted(watched.series, key=lambda series: -len(series.steps))
    if not found:
        return None
    told = " ".join(f"{_head(series)}: {_said(series)}." for series in found[:PANELS])
    return Sketch(NAME, f"{TITLE}. {told}", lambda: svg(lambda: _figure(found), TITLE))


def _head(series: Series) -> str:
    what = series.metric.ratio.replace("_", " ")
    unit = "" if series.what == "ratio" else f", {series.metric.unit}"
    return f"{short(series.label, 60)}: {what} of {WHOSE[series.what]}{unit}"


def _said(series: Series) -> str:
    steps = [
        f"{change(exp(step.size.value))} since {_date(series, step.at)}" for step in series.steps
    ]
    return "; ".join(steps) or f"no step in {len(series.nights)} nights"


def _date(series: Series, night: int) -> str:
    return plain(series.nights[night].started_at[:10])


def _figure(found: Sequence[Series]) -> Figure:
    shown = found[:PANELS]
    grid = Grid([PANEL_IN] * len(shown), left_in=LEFT_IN, head_in=0.45, foot_in=FOOT_IN)
    for index, series in enumerate(shown):
        _draw(grid.panel(index), series)
    grid.leave_out(len(found) - PANELS)
    return grid.figure


def _draw(axes: Axes, series: Series) -> None:
    """A dot for each night, a line for each level, an upright where it steps."""
    nights = range(len(series.values))
    axes.plot(nights, [exp(value) for value in series.values], color=BLUE, marker="o",
              markersize=3.5, linewidth=0.7)  # fmt: skip
    for start, end in pairwise([0, *(step.at for step in series.steps), len(series.values)]):
        level = exp(sum(series.values[start:end]) / (end - start))
        axes.hlines(level, start - 0.4, end - 0.6, color=BLACK, linewidth=1.4)
    for step in series.steps:
        height, va = (0.05, "bottom") if step.size.value > 0 else (0.95, "top")  # where no night is
        axes.axvline(step.at - 0.5, color=VERMILLION, linewidth=1.4, linestyle="--")
        axes.annotate(
            _size(series, step.at), (step.at - 0.5, height), xycoords=("data", "axes fraction"),
            xytext=(4, 0), textcoords="offset points", ha="left", va=va, color=VERMILLION, fontsize="small",
        )  # fmt: skip
    axes.set_title(_head(series), loc="left", fontsize="medium", parse_math=False)
    axes.set_xlim(-0.6, len(series.values) - 0.4)
    _versions(axes, series)


def _size(series: Series, at: int) -> str:
    """Of the step there, with its interval."""
    (size,) = (from_logs(step.size) for step in series.steps if step.at == at)
    span = f" ({change(size.bounds[0])} to {change(size.bounds[1])})" if size.bounds else ""
    return f"{change(size.value)}{span}"


def _versions(axes: Axes, series: Series) -> None:
    """Ticks at the first night and wherever a version is another than the night before."""
    ticks = list(_ticks(series))
    for night, _ in ticks[1:]:
        axes.axvline(night - 0.5, color=GREY, linewidth=0.7, linestyle=":")
    axes.set_xticks([night for night, _ in ticks])
    axes.set_xticklabels([text for _, text in ticks], rotation=25, ha="right", fontsize="x-small",
                         parse_math=False)  # fmt: skip
    axes.grid(visible=False, axis="x")


def _ticks(series: Series) -> Iterator[tuple[int, str]]:
    at = {
        night: changed
        for night, (before, after) in enumerate(pairwise(series.nights), start=1)
        if (changed := changes(before, after))
    }
    first: dict[str, str | None] = {}
    for changed in at.values():
        for each in changed:
            first.setdefault(each.name, each.before)
    yield 0, _tick(series, 0, first)
    for night, changed in at.items():
        yield night, _tick(series, night, {each.name: each.after for each in changed})


def _tick(series: Series, night: int, versions: dict[str, str | None]) -> str:
    told = [
        f"{short(name, 24)} {short(version or 'none', 16)}" for name, version in versions.items()
    ]
    more = [f"{len(told) - NAMED} more"] if len(told) > NAMED else []
    return "\n".join([_date(series, night), *told[:NAMED], *more])
