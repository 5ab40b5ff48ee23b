"""What one device serves within a user's limits, by a run under load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from greenbench.analysis.energy.at_rate import NO_RATE
from greenbench.analysis.load_curve import State, most_served
from greenbench.analysis.queueing import UNBOUNDED
from greenbench.schema.load_spec import SWEEP
from greenbench.schema.metrics import TPOT_P90, TTFT_P90, Metric
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.traffic import AtLoad, LoadPoint, Side
from greenbench.wording import percent

UNIT = "request/s"
NO_LOAD = "it was not measured under load"
UNTOLD: Final = State(False, "unsure")
"""Of a load with too few requests to tell: told from others by being this one."""


class Limits(NamedTuple):
    """How soon requests must be answered; null: no limit."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None

    def __str__(self) -> str:
        named = (("to the first token", self.ttft_ms), ("per later token", self.tpot_ms))
        return " and ".join(f"{most:g} ms {what}" for what, most in named if most is not None)


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
    return _most_told(curve.points, side, partial(_by_percentiles, limits=limits))


def is_at_rates(record: Record) -> bool:
    """Whether it was measured under open load."""
    return record.load is not None and record.load.unit == UNIT


def judged(record: Record, limits: Limits) -> str:
    """By what it is judged that a rate is served, in words."""
    own = Limits(record.spec.slo.ttft_ms, record.spec.slo.tpot_ms)
    if not _are_its_own(record, limits):
        return (
            f"{limits}: other limits than the run's own, so how many requests keep them was not counted, "
            "and each is held against the 90th percentile"
        )
    if not any(own):
        return "no limits: a rate is served where the queue does not grow"
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


def _by_percentiles(at: AtLoad, limits: Limits) -> State:
    if at.saturated:
        return State(False, "broken")
    wanted = ((TTFT_P90, limits.ttft_ms), (TPOT_P90, limits.tpot_ms))
    states = [_within(at, metric, most) for metric, most in wanted if most is not None]
    sure = {state.sure for state in states}
    if "broken" not in sure and any(state is UNTOLD for state in states):
        return UNTOLD
    return State(
        all(state.likely for state in states),
        "broken" if "broken" in sure else "unsure" if "unsure" in sure else "kept",
    )


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
