"""``gallery/NAME.svg``: one technique's ratios in every setting, by energy and by speed."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from greenbench.analysis.groups.by_technique import Everywhere
from greenbench.report.figures.energy_ratios import draw_lines, line
from greenbench.report.figures.style import Grid, Sketch, row_texts, svg
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.wording import ESTIMATE, plain

PLACES = 60
LINE_IN, LEFT_IN = 0.42, 3.0
LETTERS = 40
METRICS = (
    (ENERGY_PER_TOKEN, "J/token over the baseline's\nleft of 1× is less"),
    (TOKENS_PER_S, "tokens/s over the baseline's\nright of 1× is faster"),
)


def technique_forest(found: Everywhere) -> Sketch:
    """The figure, whose words are the table of the technique's page."""
    said = (
        f"{plain(found.label, 80)} in {len(found.places)} settings: its ratios, with 95 % intervals"
    )
    return Sketch(f"gallery/{found.stem}.svg", said, lambda: svg(lambda: _figure(found), said))


def _figure(found: Everywhere) -> Figure:
    places = found.places[:PLACES]
    grid = Grid([LINE_IN * (len(places) + 0.6)], left_in=LEFT_IN, head_in=0.3, foot_in=0.75)
    for number, (metric, words) in enumerate(METRICS):
        axes = grid.panel(0, start=0.54 * number, end=0.54 * number + 0.46)
        lines = [line(place.row, metric, place.where) for place in places]
        draw_lines(axes, lines)
        guessed = any(each and each.kind == "estimate" for each in lines)
        axes.set_xlabel(f"{ESTIMATE if guessed else ''}{words}", fontsize="small")
        if number == 0:
            row_texts(axes, [_wrapped(place.where) for place in places], "right")
        axes.set_title("energy" if number == 0 else "speed", loc="left", fontsize="medium")
    return grid.figure


def _wrapped(where: str) -> str:
    return "\n".join(textwrap.wrap(plain(where, 2 * LETTERS), LETTERS)[:2])
