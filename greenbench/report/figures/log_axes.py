"""Panels with logarithmic axes, written by hand: for pictures of which there is one for every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import ceil, floor, log, log10
from typing import Final, NamedTuple

from matplotlib.ticker import MaxNLocator

from greenbench.report.figures.style import BLACK, PAPER, in_decade

GRID: Final = "#e4e4e4"
NARROW = 6.0
"""Spans: a narrow one has few of the usual ticks, a wide one too many."""
LETTER_PX: Final = 6.4
Place = tuple[float, float]


class LogScale(NamedTuple):
    """From a number above 0 to a place in the picture."""

    low: float
    high: float
    start: float
    length: float

    def at(self, value: float) -> float:
        """The place of `value`; what lies outside is at the edge."""
        inside = min(max(value, self.low), self.high)
        return self.start + self.length * log(inside / self.low) / log(self.high / self.low)


def spanning(values: Iterable[float], start: float, length: float, room: float = 1.15) -> LogScale:
    """A scale for all of `values`, with some room around them."""
    known = [value for value in values if value > 0] or [1.0]
    return LogScale(min(known) / room, max(known) * room, start, length)


def ticks(scale: LogScale) -> list[float]:
    """Round numbers on a scale."""
    span = scale.high / scale.low
    if span < NARROW:
        even = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(scale.low, scale.high)
        return [float(tick) for tick in even if scale.low <= tick <= scale.high]
    parts = in_decade(scale.low, scale.high)
    decades = range(floor(log10(scale.low)), ceil(log10(scale.high)) + 1)
    found = [part * 10.0**decade for decade in decades for part in parts]
    return [tick for tick in found if scale.low <= tick <= scale.high]


def grid(scale: LogScale, left: float, right: float) -> Iterator[str]:
    """A line and a number at each round value of the vertical scale."""
    for tick in ticks(scale):
        y = scale.at(tick)
        yield f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="{GRID}"/>'
        yield written(f"{tick:g}", left - 6, y + 4, "end")


def numbered(scale: LogScale, values: Sequence[float], y: float) -> Iterator[str]:
    """A short stroke at each of `values` under a panel, with its number where there is room."""
    end = 0.0
    for value in values:
        x, text = scale.at(value), f"{value:.3g}"
        yield f'<path d="M{x:.1f} {y:.1f}v4" stroke="{BLACK}"/>'
        half = LETTER_PX * (len(text) + 1) / 2
        if x - half >= end:
            yield written(text, x, y + 16, "middle")
            end = x + half


def written(text: str, x: float, y: float, anchor: str = "start", more: str = "") -> str:
    """A text that is already safe."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{text}</text>'


def line(places: Sequence[Place | None], color: str, width: float, dashes: str = "") -> str:
    """A line through what is known, broken where nothing is."""
    path, pen_up = "", True
    for place in places:
        if place is not None:
            path += f"{'M' if pen_up else 'L'}{place[0]:.1f} {place[1]:.1f}"
        pen_up = place is None
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width}"{dashed}/>'


def band(ends: Sequence[tuple[float, float, float] | None], color: str) -> str:
    """Between the two ends of intervals, each at its x, and a stroke at each; broken where there is none."""
    whole = [
        f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}L{b[0]:.1f} {b[2]:.1f}L{a[0]:.1f} {a[2]:.1f}Z"
        for a, b in pairwise(ends)
        if a and b
    ]
    bars = [f"M{end[0]:.1f} {end[1]:.1f}V{end[2]:.1f}" for end in ends if end]
    return (
        f'<path d="{"".join(whole)}" fill="{color}" opacity="0.13"/>'
        f'<path d="{"".join(bars)}" stroke="{color}" stroke-width="1"/>'
    )


def marker(place: Place, color: str, *, square: bool, filled: bool) -> str:
    """A square or a round point; hollow where not `filled`."""
    (x, y), fill = place, color if filled else PAPER
    style = f'fill="{fill}" stroke="{color}" stroke-width="1.5"'
    if square:
        return f'<rect x="{x - 4.4:.1f}" y="{y - 4.4:.1f}" width="8.8" height="8.8" {style}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2" {style}/>'
