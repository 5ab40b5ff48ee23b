"""Labels beside points, where they cover neither a point, an interval bar nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

Boxes: TypeAlias = npt.NDArray[np.float64]
"""Rows of left, bottom, right, top in display coordinates."""

RADII_PT = (9, 15, 22, 30, 40, 52, 66)
ANGLES = tuple(step * pi / 8 for step in (0, 8, 2, 6, 14, 10, 4, 12, 1, 7, 15, 9))
INK, LINE = "#1a1a1a", "#5a5a5a"
# Keeps a label readable across a line; an outline of the glyphs would triple the file.
PLATE = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6}
LEADER_FROM_PT = 20
GAP = 2.0
# What a place costs: per square pixel over a point or label, over a line, outside; per pt away; as a
# whole without a line to its point and nearer to another.
COVER, CROSS, LEAVE, FAR, STRAY = 8.0, 1.0, 50.0, 12.0, 400.0


class Label(NamedTuple):
    """A text and the point it names, in data coordinates."""

    text: str
    x: float
    y: float


class Obstacles(NamedTuple):
    """What labels keep off: solid things, and lines that may be crossed."""

    solid: Boxes
    lines: Boxes


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
OFFSETS = np.array([(place.x, place.y) for place in PLACES])
DISTANCES = np.array([place.distance for place in PLACES])
LED = DISTANCES > LEADER_FROM_PT
# The share of a label's width and height that lies left of and under its anchor.
SHARES = np.array(
    [
        ({"left": 0, "center": 0.5, "right": 1}[p.ha], {"bottom": 0, "center": 0.5, "top": 1}[p.va])
        for p in PLACES
    ]
)


def place_labels(
    figure: Figure,
    renderer: RendererBase,
    axes: Axes,
    labels: Sequence[Label],
    obstacles: Obstacles,
) -> None:
    """Annotate each label at the cheapest of `PLACES`; the solid obstacles are the points.

    Greedy, so earlier labels get the better places; the same input gives the same picture.
    """
    frame, solid = np.array([axes.bbox.extents]), obstacles.solid
    points = (solid[:, :2] + solid[:, 2:]) / 2
    for label in labels:
        text = Text(0, 0, label.text, figure=figure, parse_math=False)
        size = np.array(text.get_window_extent(renderer).size)
        point = axes.transData.transform((label.x, label.y))
        anchor = point + OFFSETS * figure.dpi / 72
        boxes = np.hstack([anchor - SHARES * size, anchor + (1 - SHARES) * size])
        costs = (
            COVER * _shared(boxes, solid)
            + CROSS * _shared(boxes, obstacles.lines)
            + LEAVE * (size.prod() - _shared(boxes, frame))
            + FAR * DISTANCES
            + STRAY * (~LED & (_away(boxes, points) < _away(boxes, point[None]) - 1))
        )
        best = int(costs.round(3).argmin())  # a tie falls alike on every machine
        _annotate(axes, label, PLACES[best])
        solid = np.vstack([solid, boxes[best] + (-GAP, -GAP, GAP, GAP)])


def _shared(boxes: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    """Per box, the area that it shares with `others`, summed."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2).sum(axis=1))


def _away(boxes: Boxes, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Per box, how far it is from the nearest of `points`."""
    short = np.maximum(boxes[:, None, :2] - points, points - boxes[:, None, 2:])
    return np.asarray(np.hypot(*np.moveaxis(np.clip(short, 0, None), 2, 0)).min(axis=1))


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
