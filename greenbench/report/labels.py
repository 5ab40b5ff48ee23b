"""Labels beside points, where they cover neither a point, an interval bar nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

RADII_PT = (9, 15, 22, 30, 40, 52, 66)
ANGLES = tuple(step * pi / 8 for step in (0, 8, 2, 6, 14, 10, 4, 12, 1, 7, 15, 9))
INK, LINE = "#1a1a1a", "#5a5a5a"
# Keeps a label readable across a line; an outline of the glyphs would triple the file.
PLATE = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6}
LEADER_FROM_PT = 20
# What a place costs: per square pixel over a point or label, over a line, outside; per pt away.
COVER, CROSS, LEAVE, FAR = 8.0, 1.0, 50.0, 12.0


class Label(NamedTuple):
    """A text and the point it names, in data coordinates."""

    text: str
    x: float
    y: float


class Obstacles(NamedTuple):
    """What labels keep off, in display coordinates: solid things, and lines that may be crossed."""

    solid: list[Bbox]
    lines: list[Bbox]


class Place(NamedTuple):
    """Where a label could go: its offset from the point in points (1/72 in), and its alignment."""

    x: float
    y: float
    ha: str
    va: str

    @property
    def distance(self) -> float:
        """Points away from the point."""
        return float((self.x**2 + self.y**2) ** 0.5)


def _place(radius: float, angle: float) -> Place:
    x, y = radius * cos(angle), radius * sin(angle)
    return Place(
        x,
        y,
        "center" if abs(x) < 1 else "left" if x > 0 else "right",
        "center" if abs(y) < 1 else "bottom" if y > 0 else "top",
    )


PLACES = [_place(radius, angle) for radius in RADII_PT for angle in ANGLES]


def place_labels(
    figure: Figure,
    renderer: RendererBase,
    axes: Axes,
    labels: Sequence[Label],
    obstacles: Obstacles,
) -> list[Bbox]:
    """Annotate each label at the cheapest of `PLACES`, and return their boxes.

    Greedy, so earlier labels get the better places; the same input gives the same picture.
    """
    taken = Obstacles(list(obstacles.solid), obstacles.lines)
    boxes: list[Bbox] = []
    for label in labels:
        extent = Text(0, 0, label.text, figure=figure, parse_math=False).get_window_extent(renderer)
        x, y = axes.transData.transform((label.x, label.y))
        options = [_box(place, x, y, extent, figure.dpi) for place in PLACES]
        costs = [
            _cost(box, axes.bbox, taken) + FAR * place.distance
            for box, place in zip(options, PLACES, strict=True)
        ]
        best = costs.index(min(costs))
        _annotate(axes, label, PLACES[best])
        boxes.append(options[best])
        taken.solid.append(options[best].padded(2))
    return boxes


def _box(place: Place, x: float, y: float, extent: Bbox, dpi: float) -> Bbox:
    left = (
        x + place.x * dpi / 72 - extent.width * {"left": 0.0, "center": 0.5, "right": 1.0}[place.ha]
    )
    bottom = (
        y
        + place.y * dpi / 72
        - extent.height * {"bottom": 0.0, "center": 0.5, "top": 1.0}[place.va]
    )
    return Bbox.from_bounds(left, bottom, extent.width, extent.height)


def _annotate(axes: Axes, label: Label, place: Place) -> None:
    leader = {"arrowstyle": "-", "color": LINE, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
    axes.annotate(
        label.text,
        (label.x, label.y),
        (place.x, place.y),
        textcoords="offset points",
        ha=place.ha,
        va=place.va,
        color=INK,
        arrowprops=leader if place.distance > LEADER_FROM_PT else None,
        parse_math=False,
        bbox=PLATE,
    )


def _cost(box: Bbox, frame: Bbox, taken: Obstacles) -> float:
    cover = sum(_shared(box, other) for other in taken.solid)
    cross = sum(_shared(box, other) for other in taken.lines)
    outside = box.width * box.height - _shared(box, frame)
    return COVER * cover + CROSS * cross + LEAVE * outside


def _shared(one: Bbox, other: Bbox) -> float:
    """Area in both boxes."""
    both = Bbox.intersection(one, other)
    return both.width * both.height if both else 0.0
