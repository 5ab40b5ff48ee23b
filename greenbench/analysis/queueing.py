"""What the requests of windows under load show: percentiles, unanswered ones, queues that grow."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final, Literal

import numpy as np
from scipy.special import stdtrit

from greenbench.schema.traffic import Latencies
from greenbench.schema.window import Window
from greenbench.stats.resampling import Sample

Kind = Literal["ttft", "tpot", "e2e"]

BACKLOG: Final = 0.05
"""Of the requests due: a queue that grew by less is not called saturated."""
UNBOUNDED: Final = "unbounded"
GREW: Final = f"{UNBOUNDED}: the queue grew for as long as was looked"


def saturated(windows: Sequence[Window]) -> bool:
    """Whether one model's queue grew at one load of open arrivals, by all `windows` of it.

    Over 5 % of the requests due were left over, and, from two windows on, the one-sided 95 % t bound of
    what a window left over is above 0: chance alone does not do that.
    """
    known = [w.traffic for w in windows if w.traffic]
    left = np.array([traffic.due - traffic.ended for traffic in known], dtype=float)
    if not left.size or left.sum() <= BACKLOG * sum(traffic.due for traffic in known):
        return False
    if left.size < 2:
        return True
    reach = float(stdtrit(left.size - 1, 0.95)) * float(left.std(ddof=1)) / sqrt(left.size)
    return float(left.mean()) > reach


def unanswered(window: Window, n: int) -> int:
    """Of the requests due in a window under load, of which `n` have a latency, those never answered.

    They failed, or were given up on: either way theirs was longer than any that was seen.
    """
    traffic = window.traffic
    return min(traffic.unfinished + traffic.failed, max(traffic.due - n, 0)) if traffic else 0


def sample(window: Window, kind: Kind) -> Sample:
    """The latencies of one window's requests."""
    found: Latencies | None = getattr(window.traffic, kind, None)
    if found is None:
        return Sample([], 1.0)
    weight = found.n / len(found.seconds) if found.seconds else 1.0
    return Sample(found.seconds, weight, unanswered(window, found.n))
