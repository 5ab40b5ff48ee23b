"""Requests in the server through its windows, of one run: those being answered, and those that wait.

Written by hand, as `load_curve` is: the page holds one for every run under load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import zip_longest
from math import ceil
from statistics import fmean
from typing import Final, NamedTuple

from matplotlib.ticker import MaxNLocator

from greenbench.analysis.groups.rows import Row
from greenbench.report.figures.load_panel import COLORS, WIDTHS
from greenbench.report.figures.log_axes import GRID, LETTER_PX, line, written
from greenbench.report.figures.style import BLACK, GREY, PAPER
from greenbench.report.under_load import UNITS
from greenbench.schema.record import Record
from greenbench.schema.traffic import Gauges, LoadCurve
from greenbench.schema.window import WHO, Who
from greenbench.wording import plain

COLUMNS: Final = 3
WIDTH, PANEL, HEIGHT, LEFT, HEAD, GAP, FOOT = 700, 176, 110, 44, 62, 54, 26
"""Of the picture, and of one panel's axes; the room around them."""
DASHES: Final = "4 3"
Values = list[float | None]


class _Panel(NamedTuple):
    """One load: where its axes are, and what they must hold."""

    left: float
    top: float
    seconds: float
    most: float

    def place(self, at_s: float, value: float) -> tuple[float, float]:
        x = self.left + PANEL * at_s / self.seconds
        return x, self.top + HEIGHT * (1 - value / self.most)


def queue_trace(row: Row, curve: LoadCurve) -> bytes | None:
    """The picture, the mean over blocks at each step; null where no server told how busy it was."""
    told = {point.load: _told(row.record, point.load) for point in curve.points}
    if not any(gauges for sides in told.values() for gauges in sides.values()):
        return None
    rows = ceil(len(told) / COLUMNS)
    height = HEAD + rows * (HEIGHT + GAP) - GAP + FOOT
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="11" fill="{BLACK}">',
        f"<title>{escape(words(row))}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        *_legend(plain(row.label, 60)),
    ]
    for number, (load, sides) in enumerate(told.items()):
        left = LEFT + number % COLUMNS * (PANEL + LEFT)
        top = HEAD + number // COLUMNS * (HEIGHT + GAP)
        title = f"{load:.4g} {UNITS[curve.unit]}"
        body += [written(title, left, top - 7), *_panel(left, top, sides)]
    return "\n".join([*body, "</svg>\n"]).encode()


def words(row: Row) -> str:
    """What the picture shows."""
    return f"Requests in the server through the windows of {plain(row.label, 60)}, by load"


def _told(record: Record, load: float) -> dict[Who, list[Gauges]]:
    """What the servers told in the valid windows at this load."""
    windows = [
        w for w in record.windows if w.place and w.place.load == load and w.validity != "invalid"
    ]
    return {
        who: [w.traffic.gauges for w in windows if w.who == who and w.traffic and w.traffic.gauges]
        for who in WHO
    }


def _legend(name: str) -> Iterator[str]:
    yield written("Requests in the server through a window, mean of its blocks", 14, 18)
    x = 14.0
    for color, who, width in zip(COLORS, ("baseline", escape(name)), WIDTHS, strict=True):
        yield line([(x, 32), (x + 24, 32)], color, width)
        yield written(who, x + 29, 36)
        x += 50 + LETTER_PX * len(who)
    yield line([(x, 32), (x + 24, 32)], GREY, 1.2, DASHES)
    yield written("dashed: waiting in its queue; drawn through: being answered", x + 29, 36)


def _panel(left: float, top: float, sides: dict[Who, list[Gauges]]) -> Iterator[str]:
    known = [gauges for found in sides.values() for gauges in found]
    if not known:
        yield written("not told", left + 8, top + HEIGHT / 2)
        return
    lines = {
        who: [_mean([each.running for each in found]), _mean([each.waiting for each in found])]
        for who, found in sides.items()
    }
    values = [v for pair in lines.values() for series in pair for v in series if v is not None]
    ticks = MaxNLocator(3, integer=True).tick_values(0, max([1.0, *values]))
    step_s = max(gauges.step_s for gauges in known)
    steps = max(len(gauges.running) for gauges in known)
    panel = _Panel(left, top, step_s * steps, float(ticks[-1]))
    for tick in ticks:
        _, y = panel.place(0, float(tick))
        yield f'<path d="M{left:.1f} {y:.1f}h{PANEL}" stroke="{GRID}"/>'
        yield written(f"{tick:g}", left - 6, y + 4, "end")
    yield line([(left, top), (left, top + HEIGHT), (left + PANEL, top + HEIGHT)], BLACK, 0.8)
    yield written("0", left, top + HEIGHT + 15, "middle")
    yield written(f"{panel.seconds:.3g} s", left + PANEL, top + HEIGHT + 15, "end")
    for who, color, width in zip(WHO, COLORS, WIDTHS, strict=True):
        for series, dashes, thick in zip(lines[who], ("", DASHES), (width, 1.2), strict=True):
            places = [
                None if value is None else panel.place((step + 0.5) * step_s, value)
                for step, value in enumerate(series)
            ]
            yield line(places, color, thick, dashes)


def _mean(series: Sequence[Values]) -> Values:
    """Of what is known at each step."""
    return [
        fmean(known) if (known := [each for each in step if each is not None]) else None
        for step in zip_longest(*series)
    ]
