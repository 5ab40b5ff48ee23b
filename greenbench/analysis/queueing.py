"""What the requests of windows under load show: percentiles, unanswered ones, queues that grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, Literal

from greenbench.schema.metrics import BACKLOG
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.traffic import Latencies
from greenbench.schema.window import Window
from greenbench.stats.intervals import mean_interval
from greenbench.stats.resampling import Sample

Kind = Literal["ttft", "tpot", "e2e"]

RAMP: Final = 0.3
"""Of a window's length, for which the load has lasted when it begins."""
GREW_BY, KEPT_BY = 0.05, 0.10
"""Of the requests due: a queue that grew by less than the first is not called saturated, and one that surely
grew by less than the second is surely kept up with."""
UNBOUNDED: Final = "unbounded"
GREW: Final = f"{UNBOUNDED}: the queue grew for as long as was looked"
NOT_TOLD: Final = (
    "not told: even the quickest answer takes longer than the load had lasted when the window began, so the "
    "number in flight grows in any case"
)


def backlog(windows: Sequence[Window]) -> Quantity:
    """Of the requests due in one model's `windows` at one load, the share that its queue grew by.

    Failed ones are not left over. Its interval is of the windows, on Student's t.
    """
    known = [w.traffic for w in windows if w.traffic]
    due = [each.due for each in known]
    if not sum(due):
        return missing(BACKLOG.unit, "no request was due")
    if not is_told(windows):
        return missing(BACKLOG.unit, NOT_TOLD)
    left = [float(each.due - each.ended - each.failed) for each in known]
    found = mean_interval(left)
    scale = len(due) / sum(due)
    low, high = (None if end is None else end * scale for end in (found.low, found.high))
    return Quantity(
        value=found.value * scale, unit=BACKLOG.unit, provenance="measured:clock", n=found.n,
        low=low, high=high, reason=found.reason,
    )  # fmt: skip


def is_told(windows: Sequence[Window]) -> bool:
    """Whether the load had lasted long enough against an answer for the number in flight to be steady."""
    quickest = [w.traffic.e2e.seconds[0] for w in windows if w.traffic and w.traffic.e2e.seconds]
    lasted_s = [RAMP * (w.end_s - w.start_s) for w in windows]
    return bool(quickest) and min(quickest) <= min(lasted_s)


def grew(found: Quantity) -> bool:
    """Whether a backlog is above what is called none, by the best guess."""
    return found.value is not None and found.value > GREW_BY


def saturated(windows: Sequence[Window]) -> bool:
    """Whether one model's queue is shown to grow at one load of open arrivals, by all `windows` of it."""
    return surely_grew(backlog(windows))


def surely_grew(found: Quantity) -> bool:
    """Whether it grew and its interval lies above 0; of one window, which has none, whether it grew."""
    return grew(found) and (found.low is None or found.low > 0)


def saturated_from(backlogs: Mapping[float, Quantity]) -> float:
    """The load from which on a model is saturated; infinite where it is at none.

    Whoever cannot keep up with a load cannot with a higher one either: so it is the smallest at which the
    queue is shown to grow and does not seem to be kept at any above it.
    """
    first = inf
    for load, found in sorted(backlogs.items(), reverse=True):
        if found.value is not None and not grew(found):
            break
        first = load if surely_grew(found) else first
    return first


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
