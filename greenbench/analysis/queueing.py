"""What the requests of windows under load show: percentiles, unanswered ones, queues that grow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Final, Literal

from greenbench.schema.metrics import BACKLOG
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.traffic import Latencies, Traffic
from greenbench.schema.window import Window
from greenbench.stats.intervals import mean_interval
from greenbench.stats.resampling import Sample

Kind = Literal["ttft", "tpot", "e2e"]

RAMP: Final = 0.3
"""Of a window's length, for which the load has lasted when it begins."""
DRAIN: Final = 0.5
"""Of a window's length, at most, for which answers are waited for after its end."""
GREW_BY, KEPT_BY = 0.05, 0.10
"""Of the requests due: a queue that grew by less than the first is not called saturated, and one that surely
grew by less than the second is surely kept up with."""
UNBOUNDED: Final = "unbounded"
GREW: Final = f"{UNBOUNDED}: the queue grew for as long as was looked"
NOT_TOLD: Final = (
    "not told: answers take so long, against how long the load had lasted when the window began, that the "
    "number in flight grows in any case"
)
BY_LITTLE: Final = "of what such answers keep in flight with no queue, as they outlast the ramp"


def backlog(windows: Sequence[Window]) -> Quantity:
    """Of the requests due in one model's `windows` at one load, the share that its queue grew by.

    Failed ones are not left over. Its interval is of the windows, on Student's t. Where over 5 % of them
    would be left over were there no queue, as answers outlast the ramp, a queue is told by Little's law:
    without one as many are in flight as come while one is answered, and while it grows fewer, as those that
    come last take longest. J. D. C. Little, Operations Research 9 (1961) 383.
    """
    known = [(w.traffic, w.end_s - w.start_s) for w in windows if w.traffic]
    due = sum(each.due for each, _ in known)
    if not due:
        return missing(BACKLOG.unit, "no request was due")
    more = _share([float(each.due - each.ended - each.failed) for each, _ in known], due)
    if not grew(more) or sum(_outlasting(*each) for each in known) <= GREW_BY * due:
        return more
    steady_s = [_steady_s(*each) for each in known]
    fewer_s = [would - each.flight_s for would, (each, _) in zip(steady_s, known, strict=True)]
    found = _share(fewer_s, sum(steady_s))
    if found.low is not None and surely_grew(found):
        return found.model_copy(update={"reason": BY_LITTLE})
    return missing(BACKLOG.unit, NOT_TOLD)


def _share(parts: Sequence[float], of: float) -> Quantity:
    """All `parts`, one a window, as a share."""
    found, scale = mean_interval(parts), len(parts) / of
    low, high = (None if end is None else end * scale for end in (found.low, found.high))
    return Quantity(
        value=found.value * scale, unit=BACKLOG.unit, provenance="measured:clock", n=found.n,
        low=low, high=high, reason=found.reason,
    )  # fmt: skip


def _outlasting(traffic: Traffic, whole_s: float) -> float:
    """By so many requests the number in flight would grow within a window of `whole_s` without a queue."""
    ramp_s = RAMP * whole_s
    each_s = [min(max(took_s - ramp_s, 0.0), whole_s) for took_s in traffic.e2e.seconds]
    return _all(each_s, traffic) / whole_s + traffic.unfinished


def _steady_s(traffic: Traffic, whole_s: float) -> float:
    """Seconds that requests would be in flight within a window, if those before took as long as its own.

    At each moment a request is in flight that has come since the load began, no longer ago than it takes.
    Those that were given up took as long as they were waited for at least, as if they had come last.
    """
    first_s, last_s = RAMP * whole_s, (RAMP + 1) * whole_s

    def within(took_s: float) -> float:
        upto_s = min(max(took_s, first_s), last_s)
        return ((upto_s**2 - first_s**2) / 2 + took_s * (last_s - upto_s)) / whole_s

    given_up = [
        DRAIN * whole_s + (nth + 0.5) * whole_s / traffic.due for nth in range(traffic.unfinished)
    ]
    unsent_s = (
        traffic.late_s * traffic.due
    )  # latency counts from when it was due, flight from the sending
    return (
        _all(list(map(within, traffic.e2e.seconds)), traffic)
        + sum(map(within, given_up))
        - unsent_s
    )


def _all(parts: Sequence[float], traffic: Traffic) -> float:
    """Of all whole answers, from those that are written down."""
    return sum(parts) * traffic.e2e.n / max(len(parts), 1)


def is_told(windows: Sequence[Window]) -> bool:
    """Whether it can be seen if the queue grows."""
    return backlog(windows).value is not None


def grew(found: Quantity) -> bool:
    """Whether a backlog is above what is called none, by the best guess."""
    return found.value is not None and found.value > GREW_BY


def saturated(windows: Sequence[Window]) -> bool:
    """Whether one model's queue is shown to grow at one load of open arrivals, by all `windows` of it."""
    return surely_grew(backlog(windows))


def surely_grew(found: Quantity) -> bool:
    """Whether it grew and its interval lies above 0; of one window, which has none, whether it grew."""
    return grew(found) and (found.low is None or found.low > 0)


def saturated_from(backlogs: Mapping[float, Quantity], failing: Collection[float] = ()) -> float:
    """The load from which on a model is saturated; infinite where it is at none.

    Whoever cannot keep up with a load cannot with a higher one either: so it is the smallest at which the
    queue is shown to grow and does not seem to be kept at any above it. `failing` are loads at which many
    requests failed: whoever turns them away keeps no queue, and has kept up with nothing.
    """
    first = inf
    for load, found in sorted(backlogs.items(), reverse=True):
        if found.value is not None and not grew(found) and load not in failing:
            break
        first = load if surely_grew(found) else first
    return first


def unanswered(window: Window, kind: Kind, n: int) -> int:
    """Of the requests due in a window under load, of which `n` have a latency, those never answered.

    They failed, or were given up on: either way theirs was longer than any that was seen. Whole answers
    without a token have no first one, and no one waits for it.
    """
    traffic = window.traffic
    if traffic is None:
        return 0
    known = n + (traffic.silent or 0 if kind == "ttft" else 0)
    return min(traffic.unfinished + traffic.failed, max(traffic.due - known, 0))


def sample(window: Window, kind: Kind) -> Sample:
    """The latencies of one window's requests."""
    found: Latencies | None = getattr(window.traffic, kind, None)
    if found is None:
        return Sample([], 1.0)
    weight = found.n / len(found.seconds) if found.seconds else 1.0
    return Sample(found.seconds, weight, unanswered(window, kind, found.n))
