"""An interval drawn with letters, on one scale for all lines of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from greenbench.report.markdown.format import code
from greenbench.schema.quantity import Quantity

MIDDLE: Final = "│"
BAR: Final = 21
"""Characters of a bar."""
LEAST_SPAN: Final = 1.25
"""A bar reaches at least so far beyond 1, lest noise look large."""


def span_of(ratios: Sequence[Quantity]) -> float:
    """How far the farthest end of an interval lies from 1, as a factor."""
    ends = [end for ratio in ratios for end in (ratio.bounds or ()) if end > 0]
    return max([LEAST_SPAN, *(max(end, 1 / end) for end in ends)])


def bar(ratio: Quantity, span: float) -> str:
    """The interval of `ratio` on a logarithmic scale from 1/`span` to `span`, 1 in its middle."""
    if ratio.bounds is None or min(ratio.bounds) <= 0 or ratio.value is None:
        return ""
    low, value, high = (
        _place(end, span) for end in (ratio.bounds[0], ratio.value, ratio.bounds[1])
    )
    cells = ["·"] * BAR
    cells[BAR // 2] = MIDDLE
    cells[low : high + 1] = ["━"] * (high + 1 - low)
    cells[value] = "●"
    return code("".join(cells))


def _place(end: float, span: float) -> int:
    share = math.log(end) / math.log(span)
    return min(BAR - 1, max(0, round((BAR - 1) / 2 * (1 + share))))
