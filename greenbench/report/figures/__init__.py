"""Every figure of a report, sketched where there is something to draw."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.groups.rows import Group
from greenbench.report.figures.crossover import crossover_curves
from greenbench.report.figures.energy_by_phase import energy_by_phase
from greenbench.report.figures.energy_ratios import forest
from greenbench.report.figures.exit_depths import exit_depths
from greenbench.report.figures.frontier import frontier, frontier_figure, frontier_svg
from greenbench.report.figures.interactions import interactions_figure
from greenbench.report.figures.load_curve import load_curves
from greenbench.report.figures.solved import solved_factors
from greenbench.report.figures.style import Sketch
from greenbench.report.figures.traces import power_traces
from greenbench.report.figures.training_losses import training_losses
from greenbench.schema.record import Record

__all__ = ["FIGURES", "Sketch", "frontier_figure", "frontier_svg", "sketches"]

FIGURES = (
    frontier,
    forest,
    solved_factors,
    interactions_figure,
    crossover_curves,
    energy_by_phase,
    exit_depths,
    training_losses,
    load_curves,
)


def sketches(groups: Sequence[Group], records: Sequence[Record]) -> list[Sketch]:
    """All figures that `groups` give, and the traces of `records`; the frontier always, and first."""
    return [*(sketch for figure in FIGURES for sketch in figure(groups)), *power_traces(records)]
