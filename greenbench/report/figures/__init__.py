"""Every figure of a report: drawn only where there is something to draw."""

from __future__ import annotations

from greenbench.report.figures.frontier import frontier_figure, frontier_svg

__all__ = ["frontier_figure", "frontier_svg"]
