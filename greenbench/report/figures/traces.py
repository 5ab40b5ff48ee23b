"""``traces/KEY.svg``: the GPU's power and temperature through one run.

Written by hand rather than by matplotlib: there is one for every run, and each would take matplotlib
a tenth of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from statistics import fmean
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import technique
from greenbench.report.figures.style import BLACK, BLUE, GREY, PAPER, VERMILLION, Sketch
from greenbench.schema.record import Record
from greenbench.schema.window import Trace, Window
from greenbench.wording import file_stem, fixed, plain

FOLDER = "traces"
WIDTH, PANEL, LEFT, RIGHT, HEAD, GAP, FOOT = 640, 110, 58, 14, 50, 16, 40
HEIGHT = HEAD + 2 * PANEL + GAP + FOOT
LINES = {"baseline": (BLACK, "5 2"), "candidate": (BLUE, ""), "neither": (GREY, "1 2")}
"""Colour and dashes by whose window it is."""
Values = Sequence[float | None]


class Panel(NamedTuple):
    """One quantity against time."""

    title: str
    unit: str
    values: Callable[[Trace], Values]


PANELS = (
    Panel("power", "W", lambda trace: trace.power_w),
    Panel("temperature", "°C", lambda trace: trace.temperature_c),
)


class Scale(NamedTuple):
    """From a quantity to a place in the picture."""

    low: float
    high: float
    start: float
    length: float

    def at(self, value: float) -> float:
        """The place of `value`."""
        return self.start + self.length * (value - self.low) / (self.high - self.low)


def power_traces(records: Sequence[Record]) -> list[Sketch]:
    """A small figure for each run whose device told its power, invalid ones too."""
    found = []
    uses = Counter[str]()
    for record in sorted(records, key=lambda r: (r.name, r.key, r.started_at)):
        if _traced(record):
            key = file_stem(record.key)
            uses[key] += 1
            name = f"{FOLDER}/{key}{f'-{uses[key]}' if uses[key] > 1 else ''}.svg"
            where = plain(setting(record).asked, 80)
            said = f"{plain(technique(record), 60)}, {where}: {_told(record)}"
            found.append(Sketch(name, said, partial(_svg, record, said)))
    return found


def _traced(record: Record) -> list[Window]:
    """Windows whose trace has power, in time's order."""
    known = (w for w in record.windows if w.trace and any(v is not None for v in w.trace.power_w))
    return sorted(known, key=lambda w: (w.start_s, w.phase))


def _told(record: Record) -> str:
    windows = _traced(record)
    parts = []
    for panel in PANELS:
        known = [v for w in windows if w.trace for v in panel.values(w.trace) if v is not None]
        if known:
            ends = f"{fixed(min(known), 0)} to {fixed(max(known), 0)} {panel.unit}"
            parts.append(f"{panel.title} {ends}, mean {fixed(fmean(known), 0)}")
    seconds = windows[-1].end_s - windows[0].start_s
    invalid = sum(w.validity == "invalid" for w in windows)
    note = f"; {invalid} windows invalid" if invalid else ""
    return f"{'; '.join(parts)}, over {fixed(seconds, 0)} s{note}"


def _svg(record: Record, said: str) -> bytes:
    windows = _traced(record)
    start, end = windows[0].start_s, max(w.end_s for w in windows)
    time = Scale(start, max(end, start + 1e-6), LEFT, WIDTH - LEFT - RIGHT)
    body = [_heading(record, said), *_shades(windows, time)]
    for index, panel in enumerate(PANELS):
        body += _panel(panel, windows, time, HEAD + index * (PANEL + GAP))
    body += _seconds(time, start)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="sans-serif" font-size="11" fill="{BLACK}">'
    )
    return "\n".join([head, *body, "</svg>\n"]).encode()


def _heading(record: Record, said: str) -> str:
    names = (("baseline", "baseline"), ("candidate", plain(record.name, 40)),
             ("neither", "idle, or both loaded"))  # fmt: skip
    keys, x = [], LEFT
    for who, name in names:
        color, dashes = LINES[who]
        keys += [
            f'<path d="M{x} 31h24" stroke="{color}" stroke-dasharray="{dashes}" stroke-width="2"/>',
            f'<text x="{x + 29}" y="35">{escape(name)}</text>',
        ]
        x += 60 + 6 * len(name)
    title = escape(plain(said, 300))
    return "\n".join(
        [
            f"<title>{title}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
            f'<text x="{LEFT}" y="16" font-size="12">{escape(plain(record.name, 80))}: power and '
            "temperature through the run</text>",
            *keys,
        ]
    )


def _shades(windows: Sequence[Window], time: Scale) -> Iterator[str]:
    """A shade behind what is invalid."""
    for window in windows:
        if window.validity == "invalid":
            x, end = time.at(window.start_s), time.at(window.end_s)
            yield (
                f'<rect x="{x:.1f}" y="{HEAD}" width="{max(end - x, 1):.1f}" '
                f'height="{2 * PANEL + GAP}" fill="{VERMILLION}" opacity="0.2"/>'
            )


def _panel(panel: Panel, windows: Sequence[Window], time: Scale, top: float) -> list[str]:
    known = [v for w in windows if w.trace for v in panel.values(w.trace) if v is not None]
    name = (
        f'<text transform="translate(14 {top + PANEL / 2}) rotate(-90)" text-anchor="middle">'
        f"{panel.title}, {panel.unit}</text>"
    )
    if not known:
        nothing = f'<text x="{LEFT + 8}" y="{top + PANEL / 2}">the device told none</text>'
        return [name, nothing]
    ticks = _ticks(min(known), max(known), 4)
    scale = Scale(ticks[0], ticks[-1], top + PANEL, -PANEL)
    return [name, *_grid(ticks, scale), *_lines(panel, windows, time, scale)]


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round values that span `low` to `high`."""
    room = max(high - low, 1.0) * 0.05
    return [float(v) for v in MaxNLocator(most).tick_values(low - room, high + room)]


def _grid(ticks: Sequence[float], scale: Scale) -> Iterator[str]:
    for tick in ticks:
        y = scale.at(tick)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'


def _lines(panel: Panel, windows: Sequence[Window], time: Scale, scale: Scale) -> Iterator[str]:
    """A line per window, broken where nothing was told; a lone point is a short stroke."""
    for window in windows:
        if window.trace is None:
            continue
        color, dashes = LINES.get(window.who, LINES["neither"])
        step_s = window.trace.step_s
        path, pen_up = "", True
        for index, value in enumerate(panel.values(window.trace)):
            if value is not None:
                x, y = time.at(window.start_s + (index + 0.5) * step_s), scale.at(value)
                path += f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}{'h0.8' if pen_up else ''}"
            pen_up = value is None
        if path:
            yield (
                f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.4" '
                f'stroke-dasharray="{dashes}"/>'
            )


def _seconds(time: Scale, start: float) -> Iterator[str]:
    y = HEAD + 2 * PANEL + GAP
    for tick in MaxNLocator(8).tick_values(0, time.high - start):
        if 0 <= tick <= time.high - start:
            x = time.at(start + float(tick))
            yield f'<path d="M{x:.1f} {y}v4" stroke="{BLACK}"/>'
            yield f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle">{tick:g}</text>'
    yield (
        f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) / 2}" y="{y + 33}" text-anchor="middle">'
        "seconds since the first window with a trace; shaded: invalid windows</text>"
    )
