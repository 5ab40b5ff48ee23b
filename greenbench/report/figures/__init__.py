"""Every figure of a report, sketched where there is something to draw."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.records import Record
from greenbench.report.figures.crossover import crossover_curves
from greenbench.report.figures.exits import exit_depths
from greenbench.report.figures.forest import forest
from greenbench.report.figures.frontier import frontier, frontier_figure, frontier_svg
from greenbench.report.figures.losses import training_losses
from greenbench.report.figures.phases import energy_by_phase
from greenbench.report.figures.style import Sketch
from greenbench.report.figures.traces import power_traces
from greenbench.report.rows import Group

__all__ = ["FIGURES", "Sketch", "frontier_figure", "frontier_svg", "sketches"]

FIGURES = (
    frontier,
    forest,
    crossover_curves,
    energy_by_phase,
    exit_depths,
    training_losses,
)


def sketches(groups: Sequence[Group], records: Sequence[Record]) -> list[Sketch]:
    """All figures that `groups` give, and the traces of `records`; the frontier always, and first."""
    return [*(sketch for figure in FIGURES for sketch in figure(groups)), *power_traces(records)]
