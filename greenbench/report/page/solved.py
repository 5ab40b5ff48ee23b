"""Graded answers as the page shows them: the leaderboard's tables of factors and of lengths."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import Column, cells
from greenbench.report.markdown.sections.solved import FACTORS, HOW, LENGTHS, Line
from greenbench.report.page.numbers import Json, segments

CAPTIONS = (("Which factor moved", FACTORS), ("How long answers were", LENGTHS))


def graded(row: Row) -> Json:
    """Null for a run without graded answers."""
    lines = [Line(row, task) for task in row.record.solved]
    if not lines:
        return None
    return {
        "how": segments(HOW),
        "tables": [_table(caption, columns[1:], lines) for caption, columns in CAPTIONS],
    }


def _table(caption: str, columns: Sequence[Column[Line]], lines: Sequence[Line]) -> Json:
    """Without the technique, which the dialog is about."""
    found = cells(lines, columns)
    return {
        "caption": caption,
        "titles": [_text(title) for title in found.titles],
        "cells": [[_text(cell) for cell in line] for line in found.lines],
        "notes": [segments(line) for line in found.legend],
    }


def _text(markdown: str) -> str:
    return "".join(text for _, text in segments(markdown))
