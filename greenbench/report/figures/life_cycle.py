"""``figures/life_cycle.svg``: all joules of a model's life by the tokens that it has served."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenbench.analysis.energy.life_cycle import Life, Lives
from greenbench.report.figures.style import GREY, LINES, PANELS, Grid, Sketch, source, svg
from greenbench.wording import number, plain

NAME = "figures/life_cycle.svg"
PANEL_IN, RIGHT_IN = 2.8, 1.9
REACH = 100.0
"""The axis goes by this factor to both sides of where serving outweighs what was done once."""


def life_cycle_curves(found: Sequence[Lives], tokens: float | None) -> list[Sketch]:
    """The figure, where something was done once whose joules are known."""
    panels = [(lives, drawn) for lives in found if (drawn := _drawn(lives))][:PANELS]
    if not panels:
        return []
    words = ". ".join(_said(life) for _, drawn in panels for life in drawn)
    said = f"All joules of a model's life against the tokens that it has served. {words}."
    return [
        Sketch(NAME, said, lambda: svg(lambda: _figure(panels, tokens), "Joules of a model's life"))
    ]


def _drawn(lives: Lives) -> list[Life]:
    known = [life for life in lives.lives if life.once.value is not None and life.each.value]
    return known[: len(LINES)] if any(life.once.value for life in known) else []


def _said(life: Life) -> str:
    outweighs = life.outweighs.value
    first = (
        "" if outweighs is None else f", which serving outweighs from {number(outweighs)} tokens"
    )
    return f"{life.label}: {number(life.once.value or 0.0)} J once{first}"


def _figure(panels: Sequence[tuple[Lives, list[Life]]], tokens: float | None) -> Figure:
    grid = Grid([PANEL_IN] * len(panels), left_in=0.9, right_in=RIGHT_IN, foot_in=0.55)
    for index, (lives, drawn) in enumerate(panels):
        _draw(grid.panel(index), lives, drawn, tokens)
    return grid.figure


def _draw(axes: Axes, lives: Lives, drawn: Sequence[Life], tokens: float | None) -> None:
    """Flat while what was done once weighs more, then as steep as serving; a dot where they weigh alike."""
    turns = [turn for life in drawn if (turn := life.outweighs.value) is not None]
    ends = min(turns) / REACH, max([*turns, tokens or 0.0]) * REACH
    served = np.geomspace(*ends, 200)
    for life, (color, dashes, _) in zip(drawn, LINES, strict=False):
        once, each = life.once.value or 0.0, life.each.value or 0.0
        axes.plot(served, once + served * each, color=color, linestyle=dashes, linewidth=1.5,
                  label=textwrap.fill(plain(life.label, 40), 20))  # fmt: skip
        if once:
            axes.plot([once / each], [2 * once], marker="o", markersize=4, color=color)
    if tokens:
        axes.axvline(tokens, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("tokens served")
    axes.set_ylabel("joules since the beginning")
    asked = f"{lives.setting.asked}; {source(lives.setting)}"
    title = "\n".join(textwrap.fill(plain(line, 150), 78) for line in (lives.setting.place, asked))
    axes.set_title(title, loc="left", fontsize="medium", parse_math=False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
                         fontsize="small")  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
