"""What a window of load shows: the rules by which requests, tokens and latencies fall into it.

The window is from its start, included, to its end, not included. Joules are the window's; so what it made is
counted by when each token came, and a request by the share of its tokens that came within. Latencies are of
the requests that were due within, from when they were due, however long after the window they ended. Those
without a whole answer have none but to a first token that came: they are counted, and no latency is made up
for them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from greenbench.engines.engine import Queue
from greenbench.measure.outcomes import Outcome, Poll
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.traffic import Gauges, Latencies, Traffic
from greenbench.schema.window import Percentiles

KEPT = 500
"""Latencies of a window that are written down."""
STEPS = 50
STEP_S = 0.5
"""Of gauges at least, which are read twice in it."""
LATE = 0.05
"""Of the time that requests took may have passed before they were sent."""


class Tally(NamedTuple):
    """What a window of load takes of its requests, for `schema.window.Window`."""

    traffic: Traffic
    iterations: int
    """Answers that ended in it."""
    tokens: int
    """Came in it, of whatever request."""
    prompt_tokens: int
    """Of answers made in it; as of requests, by share."""
    ttft: Percentiles | None
    tpot: Percentiles | None
    """Of the mean gap of each request."""
    codes: list[str]


class _Window(NamedTuple):
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    def holds(self, at_s: float | None) -> bool:
        return at_s is not None and self.start_s <= at_s < self.end_s

    def share(self, each: Outcome) -> float:
        """Of a whole answer: of its tokens, or of its end where it has none.

        One that was given up on had begun when the load ended: of the tokens that it would have had at most.
        """
        if each.fault is not None:
            return 0.0
        if each.answered and not each.stamps_s:
            return float(self.holds(each.done_s))
        came = len(each.stamps_s)
        whole = came if each.answered else max(each.wanted_tokens or 0, came)
        return sum(map(self.holds, each.stamps_s)) / whole if whole else 0.0


def tally(
    outcomes: Sequence[Outcome],
    polls: Sequence[Poll],
    start_s: float,
    end_s: float,
    slo: SloSpec,
) -> Tally:
    """What fell into the window from `start_s` to `end_s`, on the clock of the outcomes."""
    window = _Window(start_s, end_s)
    due = [each for each in outcomes if window.holds(each.due_s)]
    whole = [each for each in due if each.answered]
    shares = [(each, window.share(each)) for each in outcomes]
    ended = sum(each.answered and window.holds(each.done_s) for each in outcomes)
    ttft = [each.stamps_s[0] - each.due_s for each in due if each.stamps_s and not each.fault]
    tpot = [gap for each in whole if (gap := gap_s(each)) is not None]
    traffic = Traffic(
        due=len(due),
        ended=ended,
        failed=sum(each.fault is not None for each in due),
        unfinished=sum(each.done_s is None for each in due),
        cut=sum(each.cut for each in due),
        silent=sum(not each.stamps_s for each in whole),
        requests=round(sum(share for _, share in shares), 6),
        good=sum(good(each, slo) for each in due) if slo.limited else None,
        late_s=round(sum(each.sent_s - each.due_s for each in due) / max(len(due), 1), 7),
        ttft=latencies(ttft),
        tpot=latencies(tpot),
        e2e=latencies([taken_s(each) for each in whole]),
        gauges=_gauges(polls, window),
        **_flight(outcomes, window),
    )
    return Tally(
        traffic,
        iterations=ended,
        tokens=sum(window.holds(stamp) for each in outcomes for stamp in each.stamps_s),
        prompt_tokens=round(sum(each.prompt_tokens * share for each, share in shares)),
        ttft=percentiles(ttft),
        tpot=percentiles(tpot),
        codes=["late_sends"] if sent_late(due, end_s) else [],
    )


def taken_s(each: Outcome) -> float:
    """Seconds from when it was due to its end, which there must be."""
    assert each.done_s is not None
    return each.done_s - each.due_s


def gap_s(each: Outcome) -> float | None:
    """Mean seconds between its tokens; null of fewer than two."""
    stamps = each.stamps_s
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1) if len(stamps) > 1 else None


def good(each: Outcome, slo: SloSpec) -> bool:
    """Whether each limit that is set was kept: of one that was given up on, as far as it came.

    A limit on what did not come, the first token or the second, is not kept by one that was given up on. A
    whole answer of one token has no gap that could be too long; one of none has no first token.
    """
    if each.fault is not None:
        return False
    first_s = each.stamps_s[0] - each.due_s if each.stamps_s else None
    soon = slo.ttft_ms is None or (first_s is not None and first_s * 1000 <= slo.ttft_ms)
    gap = gap_s(each)
    if gap is None:
        return soon and (each.answered or slo.tpot_ms is None)
    return soon and (slo.tpot_ms is None or gap * 1000 <= slo.tpot_ms)


def sent_late(due: Sequence[Outcome], end_s: float) -> bool:
    """Whether too much of the time that requests took had passed before they were sent.

    What was given up on took until the window's end at `end_s` or its sending, at least.
    """
    late_s = sum(each.sent_s - each.due_s for each in due)
    known = (max(each.sent_s, end_s) if each.done_s is None else each.done_s for each in due)
    return late_s > LATE * sum(until - each.due_s for until, each in zip(known, due, strict=True))


def latencies(seconds: Sequence[float]) -> Latencies:
    """All, in order; of many, the middles of as many equal parts as are kept."""
    ordered = sorted(seconds)
    count = len(ordered)
    if count > KEPT:
        ordered = [ordered[(2 * part + 1) * count // (2 * KEPT)] for part in range(KEPT)]
    return Latencies(n=count, seconds=[round(each, 6) for each in ordered])


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """p50, p90 and p99 of raw latencies, or null of none."""
    if not seconds:
        return None
    p50, p90, p99 = (round(float(value), 7) for value in np.percentile(seconds, [50, 90, 99]))
    return Percentiles(p50_s=p50, p90_s=p90, p99_s=p99, n=len(seconds))


class _Flight(TypedDict):
    in_flight: list[int]
    flight_s: float
    busy: float


def _flight(outcomes: Iterable[Outcome], window: _Window) -> _Flight:
    """How many requests were on their way, from their sending to their end."""
    spans = sorted(
        (max(each.sent_s, window.start_s), min(each.until_s, window.end_s)) for each in outcomes
    )
    spans = [(sent_s, done_s) for sent_s, done_s in spans if sent_s < done_s]
    sent = [sent_s for sent_s, _ in spans]
    done = sorted(done_s for _, done_s in spans)
    looks = [window.start_s + (step + 0.5) * window.seconds / STEPS for step in range(STEPS)]
    return {
        "in_flight": [bisect_right(sent, at_s) - bisect_right(done, at_s) for at_s in looks],
        "flight_s": round(sum(done_s - sent_s for sent_s, done_s in spans), 6),
        "busy": round(_covered_s(spans) / window.seconds, 6),
    }


def _covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that ascending `spans` cover together."""
    covered, until = 0.0, -math.inf
    for start, end in spans:
        covered += max(end - max(start, until), 0.0)
        until = max(until, end)
    return covered


def _gauges(polls: Sequence[Poll], window: _Window) -> Gauges | None:
    """The mean of what was told in each step; null where nothing was."""
    told = [poll for poll in polls if poll.queue is not None and window.holds(poll.at_s)]
    if not told:
        return None
    steps = min(max(int(window.seconds / STEP_S), 1), STEPS)
    step_s = window.seconds / steps
    parts: list[list[Queue]] = [[] for _ in range(steps)]
    for at_s, queue in told:
        assert queue is not None
        parts[min(int((at_s - window.start_s) / step_s), steps - 1)].append(queue)
    return Gauges(
        step_s=round(step_s, 6),
        running=[_mean([queue.running for queue in part]) for part in parts],
        waiting=[_mean([queue.waiting for queue in part]) for part in parts],
    )


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
