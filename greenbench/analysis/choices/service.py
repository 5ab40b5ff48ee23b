"""What one device serves within a user's limits, by a run under load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from greenbench.analysis.energy.at_rate import NO_RATE
from greenbench.analysis.load_curve import State, most_served
from greenbench.analysis.queueing import UNBOUNDED
from greenbench.schema.load_spec import SWEEP
from greenbench.schema.metrics import TPOT, TPOT_P90, TPOT_P99, TTFT, TTFT_P90, TTFT_P99, Metric
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.traffic import AtLoad, LoadPoint, Side
from greenbench.schema.window import WHO
from greenbench.wording import number, percent

UNIT = "request/s"
NO_LOAD = "it was not measured under load"
NEARLY: Final = 1e-9  # 1 - (1 - 0.8) / 2 is 0.9, and not a little more
LEVELS: Final = {0.5: (TTFT, TPOT), 0.9: (TTFT_P90, TPOT_P90), 0.99: (TTFT_P99, TPOT_P99)}
"""The percentiles that a record has, of both limits, by the share of requests under them."""
UNTOLD: Final = State(False, "unsure")
"""Of a load with too few requests to tell: told from others by being this one."""


class Limits(NamedTuple):
    """How soon requests must be answered; null: no limit."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None

    def __str__(self) -> str:
        named = (("to the first token", self.ttft_ms), ("per later token", self.tpot_ms))
        return " and ".join(f"{most:g} ms {what}" for what, most in named if most is not None)


class _Bar(NamedTuple):
    """The percentiles by which limits are judged, as keys of `LEVELS`; null: none is known that shows it."""

    likely: float
    kept: float | None
    broken: float | None

    def __str__(self) -> str:
        by = f"judged by the {100 * self.likely:g}th percentile"
        if self.kept == self.likely:
            return by
        if self.kept is None:
            return f"{by}, and never surely kept"
        return f"{by}, and surely kept only by the {100 * self.kept:g}th"


def serves(record: Record, side: Side, limits: Limits) -> Quantity:
    """Requests per second that one device serves within `limits`, or within the run's own without any.

    Its interval is from the last rate measured that surely keeps them to the first that surely does not.
    """
    curve = record.load
    if curve is None or not is_at_rates(record):
        return missing(UNIT, NO_LOAD if curve is None else NO_RATE)
    if _are_its_own(record, limits):
        known = curve.capacity.get(side)
        return known.load if known else missing(UNIT, "the record does not say what it serves")
    return _most_told(
        curve.points,
        side,
        partial(_by_percentiles, limits=limits, bar=_bar(limits, record.spec.slo.share)),
    )


def too_much(record: Record, limits: Limits, rate: float) -> str | None:
    """Why one device of each model was not seen to serve `rate` within `limits`; null: it was."""
    for who in WHO:
        most = serves(record, who, limits)
        if most.value is None:
            return f"how much the {who} serves is not known: {most.reason}"
        if rate > most.value:
            return (
                f"one device of the {who} was seen to serve {number(most.value)} requests/s, and these are "
                f"{number(rate)}"
            )
    return None


def is_at_rates(record: Record) -> bool:
    """Whether it was measured under open load."""
    return record.load is not None and record.load.unit == UNIT


def judged(record: Record, limits: Limits) -> str:
    """By what it is judged that a rate is served, in words."""
    own = Limits(record.spec.slo.ttft_ms, record.spec.slo.tpot_ms)
    if not _are_its_own(record, limits):
        share = record.spec.slo.share
        return (
            f"{limits}, of {percent(share)} of the requests: other limits than the run's own, so how many "
            f"keep them was not counted, and they are {_bar(limits, share)}"
        )
    if not any(own):
        return "no limits: a rate is served where the queue does not grow and few requests fail"
    return f"{own}, of {percent(record.spec.slo.share)} of the requests, the run's own limits"


def to_measure(command: str, limits: Limits) -> dict[str, str]:
    """Overrides that make `command` measure up to the most that is served within `limits`."""
    users = (
        {"load.arrivals": "poisson", "load.concurrency": "null"} if "concurren" in command else {}
    )
    asked = {f"slo.{name}": f"{most:g}" for name, most in limits._asdict().items() if most}
    return {"workload": "online"} | users | {"load.rate": SWEEP} | asked


def _are_its_own(record: Record, limits: Limits) -> bool:
    return not any(limits) or limits == Limits(record.spec.slo.ttft_ms, record.spec.slo.tpot_ms)


def _most_told(
    points: Sequence[LoadPoint], side: Side, judge: Callable[[AtLoad], State]
) -> Quantity:
    """By the loads with enough requests to tell: what is unknown of one hides no other."""
    told = [point for point in points if judge(point.side(side)) is not UNTOLD]
    known = {point.load for point in told}
    silent = ", ".join(f"{point.load:g}" for point in points if point.load not in known)
    few = f"too few requests at {silent} {UNIT} to tell"
    if not told:
        return missing(UNIT, few)
    found = most_served(told, side, UNIT, judge, limited=not told[0].side(side).saturated).load
    if not silent:
        return found
    rest = f"; of the others: {found.reason}" if found.reason else ""
    return found.model_copy(update={"reason": f"{few}{rest}"})


def _bar(limits: Limits, share: float) -> _Bar:
    """The percentiles that `limits` are held against, so that `share` of the requests keep all of them.

    Who misses one may keep the other: two are surely kept by as many only where each is missed by no more
    than half of those that may miss (Bonferroni).
    """
    count = sum(most is not None for most in limits)
    above = [level for level in LEVELS if level >= share - NEARLY]
    enough = [level for level in LEVELS if level >= 1 - (1 - share) / count - NEARLY]
    below = [level for level in LEVELS if level <= share + NEARLY]
    return _Bar(
        min(above, default=max(LEVELS)), min(enough, default=None), max(below, default=None)
    )


def _by_percentiles(at: AtLoad, limits: Limits, bar: _Bar) -> State:
    if at.saturated or any(state.sure == "broken" for state in _states(at, limits, bar.broken)):
        return State(False, "broken")
    guesses = _states(at, limits, bar.likely)
    if any(state is UNTOLD for state in guesses):
        return UNTOLD
    likely = all(state.likely for state in guesses)
    shown = _states(at, limits, bar.kept)
    sure = likely and bool(shown) and all(state.sure == "kept" for state in shown)
    return State(likely, "kept" if sure else "unsure")


def _states(at: AtLoad, limits: Limits, level: float | None) -> list[State]:
    """Of each limit that there is, by its percentile; none without one."""
    asked = zip(LEVELS[level], limits, strict=True) if level is not None else ()
    return [_within(at, metric, most) for metric, most in asked if most is not None]


def _within(at: AtLoad, metric: Metric, most_ms: float) -> State:
    found = metric.level(at.metrics)
    if found.value is None:
        endless = (found.reason or "").startswith(UNBOUNDED)
        return State(False, "broken") if endless else UNTOLD
    low, high = found.bounds or (0.0, float("inf"))
    most = most_ms / 1000
    return State(
        found.value <= most, "kept" if high <= most else "broken" if low > most else "unsure"
    )
