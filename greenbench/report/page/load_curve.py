"""A run under load as the page shows it: the leaderboard's table and sentences, its picture, all numbers."""

from __future__ import annotations

from greenbench.analysis.groups.rows import Row
from greenbench.report.figures.load_curve import svg, told
from greenbench.report.figures.queue_trace import queue_trace, words
from greenbench.report.markdown.format import cells
from greenbench.report.markdown.sections.load_curve import HOW, columns, sentences
from greenbench.report.page.numbers import Json, Pool, quantity, segments, shown
from greenbench.report.under_load import UNITS, loaded, pair
from greenbench.schema.metrics import METRICS
from greenbench.schema.traffic import LoadPoint


def under_load(pool: Pool, row: Row) -> Json:
    """Null for a run whose requests came one batch after another."""
    for _, curve in loaded([row]):
        found = cells(curve.points, columns(row, curve))
        return {
            "titles": found.titles,
            "cells": [[_text(cell) for cell in line] for line in found.lines],
            "notes": [segments(line) for line in found.legend],
            "said": [segments(line) for line in sentences(row, curve)],
            "how": [segments(line.removeprefix("- ")) for line in HOW],
            "unit": UNITS[curve.unit],
            "numbers": [[f"{point.load:.4g}", _all(pool, point)] for point in curve.points],
            "figure": svg(row, curve).decode(),
            "alt": shown(told(row, curve)),
            "queue": queue.decode() if (queue := queue_trace(row, curve)) else None,
            "queueAlt": shown(words(row)),
        }
    return None


def _text(markdown: str) -> str:
    return "".join(text for _, text in segments(markdown))


def _all(pool: Pool, point: LoadPoint) -> list[Json]:
    """Every number at one load: its name, the baseline's, the candidate's, and their ratio or null."""
    return [
        [
            metric.name,
            *(quantity(pool, found) for found in pair(point, metric)),
            quantity(pool, point.ratios[metric.ratio]) if metric.ratio in point.ratios else None,
        ]
        for metric in METRICS
        if metric.name in {*point.baseline.metrics, *point.candidate.metrics}
    ]
