"""One quantity of both models against the load: a panel of a run's picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from greenbench.report.figures.log_axes import (
    LogScale,
    Place,
    band,
    grid,
    line,
    marker,
    spanning,
    written,
)
from greenbench.report.figures.style import BLACK, BLUE, GREY
from greenbench.report.under_load import UNBOUNDED, at_all, is_unbounded, pair
from greenbench.schema.metrics import Metric
from greenbench.schema.quantity import Quantity
from greenbench.schema.traffic import LoadCurve
from greenbench.wording import plain

WIDTH, LEFT, RIGHT, HEIGHT = 700, 84, 52, 170
"""Of the picture, of the room beside its axes, and of one panel's axes."""
STRIP: Final = 26
"""Room at the top of a panel for latencies without bound."""
COLORS: Final = (BLACK, BLUE)
"""Of baseline and candidate; their markers are square and round, so that both are seen where they meet."""
WIDTHS: Final = (2.8, 1.7)
BESIDE_PX, APART_PX = 2.0, 3.0
"""By which marks stand beside their load, for two bars to be told apart, and further without bound."""


class Panel(NamedTuple):
    """One quantity of both models against the load."""

    title: str
    metric: Metric
    dashed: Metric | None = None
    """Likewise, drawn thin."""
    limit_s: float | None = None


def drawn(panel: Panel, curve: LoadCurve, across: LogScale, top: float) -> Iterator[str]:
    """Both models' curves over their axes, from `top` downwards."""
    right, bottom = WIDTH - RIGHT, top + HEIGHT
    strip = STRIP if any(map(is_unbounded, at_all(curve, panel.metric))) else 0
    values = [*_values(panel, curve), *([panel.limit_s] if panel.limit_s else [])]
    scale = spanning(values, bottom, -(HEIGHT - strip))
    if values:
        yield from grid(scale, LEFT, right)
    if strip:
        yield line([(LEFT, top + strip), (right, top + strip)], GREY, 0.8, "1 2")
        yield written(UNBOUNDED, LEFT - 6, top + strip / 2 + 4, "end")
    yield line([(LEFT, top), (LEFT, bottom), (right, bottom)], BLACK, 0.8)
    if not values and not strip:
        reason = next((each.reason for each in at_all(curve, panel.metric) if each.reason), "")
        yield written(escape(plain(f"not known: {reason}", 90)), LEFT + 10, top + HEIGHT / 2)
    if panel.limit_s:
        y = scale.at(panel.limit_s)
        yield line([(LEFT, y), (right, y)], BLACK, 1.2, "7 3")
        yield written("limit", right + 4, y - 3)
        yield written(f"{panel.limit_s:g} s", right + 4, y + 11)
    for who in range(len(COLORS)):
        yield from _curve(panel, curve, who, across, scale, top + strip / 2)


def _values(panel: Panel, curve: LoadCurve) -> list[float]:
    """All that the vertical scale must hold: of intervals what is not far below their values."""
    metrics = [panel.metric] + ([panel.dashed] if panel.dashed else [])
    known = [
        (found.value, found.bounds if metric is panel.metric else None)
        for metric in metrics
        for found in at_all(curve, metric)
        if found.value is not None and found.value > 0
    ]
    ends = [max(value / 3, low) for value, bounds in known if bounds for low in bounds[:1]]
    ends += [min(value * 3, high) for value, bounds in known if bounds for high in bounds[1:]]
    return [value for value, _ in known] + ends


def _curve(
    panel: Panel, curve: LoadCurve, who: int, across: LogScale, scale: LogScale, top: float
) -> Iterator[str]:
    """One model's band, lines and marks."""
    color, square = COLORS[who], who == 0
    found = [pair(point, panel.metric)[who] for point in curve.points]
    side = 2 * who - 1
    xs = [across.at(point.load) + BESIDE_PX * side for point in curve.points]
    places = [_place(each, x, scale) for each, x in zip(found, xs, strict=True)]
    yield band(
        [
            (x, scale.at(each.bounds[0]), scale.at(each.bounds[1])) if each.bounds else None
            for each, x in zip(found, xs, strict=True)
        ],
        color,
    )
    if panel.dashed:
        thin = [pair(point, panel.dashed)[who] for point in curve.points]
        marginal = [_place(each, x, scale) for each, x in zip(thin, xs, strict=True)]
        yield line(marginal, color, 1.1, "4 3")
        yield from (_dot(place, color) for place in marginal if place)
    yield line(places, color, WIDTHS[who])
    both = [all(map(is_unbounded, pair(point, panel.metric))) for point in curve.points]
    marks = [
        (x + APART_PX * side * shared, top) if is_unbounded(each) else place
        for each, x, place, shared in zip(found, xs, places, both, strict=True)
    ]
    yield from _rises(places, marks, color)
    for place, point in zip(marks, curve.points, strict=True):
        sides = (point.baseline, point.candidate)
        if place:
            yield marker(place, color, square=square, filled=not sides[who].saturated)


def _place(found: Quantity, x: float, scale: LogScale) -> Place | None:
    """Nowhere for what is missing, or, as a marginal energy within its noise may be, not above 0."""
    return None if found.value is None or found.value <= 0 else (x, scale.at(found.value))


def _dot(place: Place, color: str) -> str:
    """A point of a thin line, that is seen where there is no second."""
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="1.8" fill="{color}"/>'


def _rises(
    places: Sequence[Place | None], marks: Sequence[Place | None], color: str
) -> Iterator[str]:
    """Dotted, from the last latency that is known to the first without bound."""
    for before, place, mark in zip(places, places[1:], marks[1:], strict=False):
        if before and place is None and mark:
            yield line([before, mark], color, 1.2, "1 3")
