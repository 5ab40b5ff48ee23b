"""What all figures share: the palette, how they are written, and how a group is named in them."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation

from greenbench.analysis.groups.comparable import Setting
from greenbench.analysis.groups.rows import Group
from greenbench.wording import plain

# Okabe and Ito's palette: told apart with every common colour blindness, in print too.
BLUE, SKY, VERMILLION, BLACK = "#0072B2", "#56B4E9", "#D55E00", "#000000"
ORANGE, GREEN, PURPLE = "#E69F00", "#009E73", "#CC79A7"
GREY, PAPER = "#5a5a5a", "#ffffff"
LINES = (
    (BLUE, "-", "o"),
    (VERMILLION, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, (0, (6, 2, 1, 2)), "v"),
    (BLACK, (0, (3, 1)), "P"),
    (SKY, (0, (1, 1)), "X"),
)
"""Colour, dashes and marker of a curve: any one of the three tells two curves apart."""
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "greenbench",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "legend.title_fontsize": "small",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
}
WIDTH_IN = 7.6
PANELS = 24  # the first ones; a picture of hundreds could be neither drawn nor read
COARSE, FINE = (1, 2, 5), (1, 1.5, 2, 3, 5, 7)  # ticks in a decade
WIDE, WIDE_SMALL = 500.0, 80.0
"""From its start to so many times that, a large or a small axis has room for its decades alone."""


class Sketch(NamedTuple):
    """A figure that is not drawn yet: its words are needed sooner, and cost nothing."""

    name: str
    """Of its file, from the leaderboard's place."""
    said: str
    """What it shows, for those who cannot see it. Untrusted: may hold names from records."""
    draw: Callable[[], bytes]
    """The figure as SVG: the same bytes for the same records."""


def svg(make: Callable[[], Figure], title: str) -> bytes:
    """The figure that `make` makes as SVG, whatever the user's own matplotlib settings are."""
    metadata = {"Date": None, "Creator": "GreenBench", "Title": title}
    file = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script the font lacks is drawn as boxes; the leaderboard spells it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        # savefig would draw it once more beforehand, to no end.
        canvas = FigureCanvasSVG(make())
        canvas.print_svg(file, metadata=metadata)  # type: ignore[no-untyped-call]
    return file.getvalue().encode()


def heading(group: Group, width: int = 78) -> str:
    """A group's model, device, workload and tier in lines of at most `width` letters."""
    setting = group.setting
    tier = f"tier {setting.tier}" + ("" if setting.claims else ": no claims")
    lines = (setting.place, f"{setting.asked}; {tier}")
    return "\n".join(textwrap.fill(plain(line, 150), width) for line in lines)


def source(setting: Setting) -> str:
    """Where the joules of a figure come from."""
    if setting.measured:
        return f"measured: {plain(setting.meter, 60)}"
    if setting.source == "unavailable":
        return "no joules"
    return "≈ estimated from CPU time, not measured"


def log_ticks(axis: Axis, form: str = "{x:g}", subs: Sequence[float] = COARSE) -> None:
    """Ticks at `subs` of each decade, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter(form))


def in_decade(low: float, high: float, wide: float = WIDE) -> Sequence[float]:
    """Where the ticks of each decade lie, so that none is written over another."""
    return COARSE if high < wide * low else COARSE[:1]


def of_ratios(low: float, high: float) -> Sequence[float]:
    """The same of a small axis, which often holds less than a decade."""
    return FINE if high < 8 * low else in_decade(low, high, WIDE_SMALL)


def row_texts(axes: Axes, texts: Sequence[str], ha: str) -> None:
    """A text per row, right-aligned before the axes or left-aligned behind them.

    Ticks with labels look the same, and take several times as long to draw.
    """
    x, gap_in = (0, -0.06) if ha == "right" else (1, 0.09)
    shift = ScaledTranslation(gap_in, 0, axes.figure.dpi_scale_trans)
    for place, text in enumerate(texts):
        axes.text(x, place, text, ha=ha, va="center_baseline", fontsize="small", parse_math=False,
                  transform=axes.get_yaxis_transform() + shift)  # fmt: skip
    axes.set_yticks([])


class Grid:
    """Panels under each other, placed in inches: no layout engine, which costs more than drawing.

    `heights_in` are those of the panels' axes; above each stands a title, under each its labels.
    """

    def __init__(
        self,
        heights_in: list[float],
        *,
        left_in: float,
        right_in: float = 0.2,
        head_in: float = 0.62,
        foot_in: float = 0.62,
        top_in: float = 0.1,
    ) -> None:
        rooms = [head_in + height + foot_in for height in heights_in]
        self.height_in = top_in + sum(rooms)
        self.figure = Figure(figsize=(WIDTH_IN, self.height_in))
        self._left, self._right = left_in, right_in
        self._places: list[tuple[float, float]] = []
        used = top_in
        for room, height in zip(rooms, heights_in, strict=True):
            self._places.append((self.height_in - used - head_in - height, height))
            used += room

    def panel(self, index: int, *, start: float = 0.0, end: float = 1.0, **options: Any) -> Axes:
        """Axes at `index`, over the share from `start` to `end` of the width."""
        bottom, height = self._places[index]
        width = WIDTH_IN - self._left - self._right
        box = (
            (self._left + start * width) / WIDTH_IN,
            bottom / self.height_in,
            (end - start) * width / WIDTH_IN,
            height / self.height_in,
        )
        return self.figure.add_axes(box, **options)

    def leave_out(self, groups: int) -> None:
        """Say at the foot that so many groups have no panel, if any."""
        if groups > 0:
            note = f"{groups} more groups have no panel; see the tables"
            self.figure.text(0.5, 0.05 / self.height_in, note, ha="center")
