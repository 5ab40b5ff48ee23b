"""``figures/losses.svg``: how the loss fell while a student was distilled or a pruned model healed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from greenbench.analysis.groups.rows import Group
from greenbench.report.figures.style import LINES, PANELS, Grid, Sketch, heading, svg
from greenbench.wording import number, plain

NAME = "figures/losses.svg"
PANEL_IN, RIGHT_IN = 2.6, 1.9


class Curve(NamedTuple):
    """One training."""

    label: str
    steps: list[float]
    losses: list[float]
    tokens: float | None
    seconds: float | None

    @property
    def said(self) -> str:
        """The curve in words."""
        cost = [
            f"{number(amount)} {unit}"
            for amount, unit in ((self.tokens, "tokens"), (self.seconds, "s"))
            if amount is not None
        ]
        spent = f" ({', '.join(cost)})" if cost else ""
        return (
            f"{self.label}: loss {number(self.losses[0])} to {number(self.losses[-1])} in "
            f"{self.steps[-1]:g} steps{spent}"
        )


def training_losses(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where a technique trained and kept its losses."""
    panels = losses(groups)
    if not panels:
        return []
    curves = ". ".join(curve.said for _, found in panels for curve in found)
    said = f"Loss during distillation. {curves}."
    return [Sketch(NAME, said, lambda: svg(lambda: losses_figure(panels), "Loss of distillation"))]


def losses(groups: Sequence[Group]) -> list[tuple[Group, list[Curve]]]:
    """The first groups with trainings, each with its first curves."""
    found = [
        (
            group,
            [
                curve
                for row in group.rows
                for part in row.record.techniques
                if (curve := _curve(row.label, part.details.get("distillation")))
            ][: len(LINES)],
        )
        for group in groups
    ]
    return [(group, curves) for group, curves in found if curves][:PANELS]


def _curve(label: str, told: Any) -> Curve | None:
    """A training's curve; None where it kept none."""
    points = told.get("loss_curve") if isinstance(told, Mapping) else None
    if not isinstance(points, list | tuple) or not points:
        return None
    pairs = [pair for pair in points if isinstance(pair, list | tuple) and len(pair) == 2]
    known = [(_real(step), _real(loss)) for step, loss in pairs]
    kept = [(step, loss) for step, loss in known if step is not None and loss is not None]
    if not kept:
        return None
    steps, values = (list(side) for side in zip(*kept, strict=True))
    return Curve(
        plain(label, 40), steps, values, _real(told.get("tokens")), _real(told.get("seconds"))
    )


def _real(value: Any) -> float | None:
    """A finite number; a record's details are free, so that nothing may be taken for granted."""
    number_like = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number_like and isfinite(value) else None


def losses_figure(panels: Sequence[tuple[Group, list[Curve]]]) -> Figure:
    """One panel per group; each curve is named at its end."""
    grid = Grid([PANEL_IN] * len(panels), left_in=0.8, right_in=RIGHT_IN, foot_in=0.55)
    for index, (group, curves) in enumerate(panels):
        _draw(grid.panel(index), group, curves)
    return grid.figure


def _draw(axes: Axes, group: Group, curves: Sequence[Curve]) -> None:
    for curve, (color, dashes, marker) in zip(curves, LINES, strict=False):
        few = len(curve.steps) < 30
        label = textwrap.fill(curve.label, 20)
        axes.plot(curve.steps, curve.losses, color=color, linestyle=dashes, linewidth=1.5,
                  marker=marker if few else None, markersize=4, label=label)  # fmt: skip
    if min(loss for curve in curves for loss in curve.losses) > 0:
        axes.set_yscale("log")
        plainly = FuncFormatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(plainly)
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("training loss")
    axes.set_title(heading(group, 88), loc="left", fontsize="medium", parse_math=False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
                         fontsize="small")  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
