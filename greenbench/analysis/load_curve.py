"""All loads of a run: the most that each model serves, where the better one changes, the queue's memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from typing import Final, Literal, NamedTuple

from greenbench.analysis.idle import resting_power
from greenbench.analysis.load_crossing import crossing
from greenbench.analysis.load_point import Sides, failed_share, load_point, seconds
from greenbench.analysis.queueing import KEPT_BY, backlog, grew, is_told, saturated_from
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.metrics import BACKLOG, ENERGY_PER_REQUEST, FAILED, GOOD
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.resolved import ResolvedSlo
from greenbench.schema.traffic import AtLoad, Capacity, LoadCurve, LoadPoint, Side
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.resampling import correlation_time
from greenbench.wording import percent

Unit = Literal["request/s", "users"]

LATE: Final = 0.05
"""Of the time that requests took: more of it spent before they were sent is too much."""
FAILS: Final = 0.05
"""Of the requests due: where more than that fail, a load is not kept up with."""
MEMORIES: Final = 10
"""Correlation times that a window must be long for blocks to be independent of each other."""


class State(NamedTuple):
    """Whether a load is kept: by the best guess, and what is sure."""

    likely: bool
    sure: Literal["kept", "broken", "unsure"]
    why: str = ""
    """Why it is not likely, where nothing else says so."""


def load_curve(
    windows: Sequence[Window],
    idle: Mapping[str, Quantity],
    slo: SloSpec | ResolvedSlo,
    unit: Unit,
    headline: float,
    no_energy: str,
    *,
    planned: int | None = None,
    in_turn: bool = False,
) -> LoadCurve | None:
    """What the windows of all loads show; null where none was taken, or no block of any is valid.

    A block counts at a load if both its windows there are not invalid. `idle` is power by what was
    loaded, `headline` the load of the run's own numbers, `no_energy` why there are no joules. `planned` and
    `in_turn` as in `load_point`.
    """
    found = by_load(windows)
    if not found:
        return None
    power = resting_power(idle)
    full = _saturated_from(found) if unit == "request/s" else (inf, inf)
    points = [
        load_point(
            load,
            sides,
            power,
            [load >= first for first in full],
            no_energy,
            planned=planned,
            in_turn=in_turn,
        )
        for load, sides in found.items()
    ]
    return LoadCurve(
        unit=unit,
        headline=headline,
        points=points,
        capacity={side: capacity(points, side, slo.share, unit) for side in WHO},
        crossing=crossing(points, found, unit, no_energy, planned=planned, in_turn=in_turn),
        correlation_s=_correlation(points, found),
    )


def by_load(windows: Sequence[Window]) -> dict[float, Sides]:
    """The valid blocks of each load, ascending."""
    placed: defaultdict[float, defaultdict[int, dict[str, Window]]]
    placed = defaultdict(lambda: defaultdict(dict))
    for window in windows:
        place = window.place
        if window.phase == "serve" and place and place.load is not None:
            placed[place.load][place.unit][window.who] = window
    found = {}
    for load, blocks in sorted(placed.items()):
        pairs = [pair for _, pair in sorted(blocks.items()) if _counts(pair)]
        if pairs:
            found[load] = Sides(*([pair[who] for pair in pairs] for who in WHO))
    return found


def _saturated_from(found: Mapping[float, Sides]) -> tuple[float, float]:
    """By model; users wait for their answers, so that their queue never grows."""
    before, after = (
        saturated_from(
            {load: backlog(sides[side]) for load, sides in found.items()},
            {
                load
                for load, sides in found.items()
                if (failed_share(sides[side]).value or 0.0) > FAILS
            },
        )
        for side in range(2)
    )
    return before, after


def _counts(pair: Mapping[str, Window]) -> bool:
    return all(who in pair and pair[who].validity != "invalid" for who in WHO)


def capacity(points: Sequence[LoadPoint], side: Side, share: float, unit: str) -> Capacity:
    """The most that one model serves while `share` of the requests, or more, keep the run's limits.

    Without limits a load is kept where the queue does not grow and few requests fail.
    """
    limited = any(GOOD.level(point.side(side).metrics).value is not None for point in points)
    full = points[0].side(side).saturated
    judge = partial(_good_enough, share=share, waits=unit == "users")
    return most_served(points, side, unit, judge, limited=limited and not full)


def most_served(
    points: Sequence[LoadPoint],
    side: Side,
    unit: str,
    judge: Callable[[AtLoad], State],
    *,
    limited: bool = True,
) -> Capacity:
    """Of the loads measured, the largest that `judge` finds kept by the best guess, below any that surely is
    not.

    Whoever keeps up with a load does so with a smaller one. The interval is from the largest load that is
    surely kept to the first that is surely not. `limited`: something besides the queue's growth is asked for.
    """
    states = [(point.load, judge(point.side(side))) for point in points]
    high = next((load for load, state in states if state.sure == "broken"), None)
    below = [(load, state) for load, state in states if high is None or load < high]
    kept = max((load for load, state in below if state.likely), default=None)
    low = max((load for load, state in below if state.sure == "kept"), default=None)
    if kept is None:
        why = _none(*states[0], unit, limited)
        return Capacity(load=missing(unit, why), energy_per_request=missing("J/request", why))
    at = next(point for point in points if point.load == kept)
    load = Quantity(
        value=kept,
        unit=unit,
        provenance="measured:clock",
        n=at.blocks,
        low=low,
        high=high,
        reason=_open_ends(low, high, everything=kept == points[-1].load, limited=limited),
    )
    return Capacity(load=load, energy_per_request=ENERGY_PER_REQUEST.level(at.side(side).metrics))


def _good_enough(at: AtLoad, share: float, waits: bool) -> State:
    good = GOOD.level(at.metrics)
    if at.saturated:
        return State(False, "broken")
    if good.value is None or good.bounds is None:
        return kept_up(at, waits)
    low, high = good.bounds
    return State(
        good.value >= share, "kept" if low >= share else "broken" if high < share else "unsure"
    )


def kept_up(at: AtLoad, waits: bool) -> State:
    """Whether one model keeps up with a load that is not shown to be too much, by its queue and what failed.

    `waits`: users wait for their answers, so there is no queue that grows.
    """
    failed, queue = FAILED.level(at.metrics), BACKLOG.level(at.metrics)
    if failed.value is not None and failed.value > FAILS:
        broken = failed.bounds is not None and failed.bounds[0] > FAILS
        why = f"{percent(failed.value)} of the requests fail"
        return State(False, "broken" if broken else "unsure", why)
    few = not failed.value or (failed.bounds is not None and failed.bounds[1] < KEPT_BY)
    if waits:
        return State(True, "kept" if few else "unsure")
    if queue.value is None:
        return State(False, "unsure", f"whether the queue grows is {queue.reason}")
    surely = few and not grew(queue) and queue.bounds is not None and queue.bounds[1] < KEPT_BY
    return State(not grew(queue), "kept" if surely else "unsure")


def _none(load: float, state: State, unit: str, limited: bool) -> str:
    what = state.why or ("the limits are not kept" if limited else "the queue grows")
    return f"{what} at the smallest measured load already, {load:g} {unit}"


def _open_ends(
    low: float | None, high: float | None, *, everything: bool, limited: bool
) -> str | None:
    """Why an end of the interval is missing."""
    said = []
    if low is None:
        said.append("at no measured load are the limits surely kept")
    if high is None and everything:
        kept = "kept the limits" if limited else "was kept up with"
        said.append(f"every measured load {kept}: the most is not shown")
    elif high is None:
        said.append("at no measured load are the limits surely broken")
    return "; ".join(said) or None


def _correlation(points: Sequence[LoadPoint], found: Mapping[float, Sides]) -> Quantity:
    """Of the load and model, without queues that grow, whose number in flight remembers itself longest."""
    steady = {
        (point.load, side)
        for point in points
        for side in WHO
        if not point.side(side).saturated
    }  # fmt: skip
    known = [
        (correlation_s, len(windows))
        for load, side, windows in _sides(found)
        if (load, side) in steady and (correlation_s := _memory_s(windows)) is not None
    ]
    if not known:
        why = "the number in flight never changed" if steady else "at every load the queue grew"
        return missing("s", why)
    value, blocks = max(known)
    return Quantity(
        value=value,
        unit="s",
        provenance="measured:clock",
        n=blocks,
        reason="the largest of all loads: no interval",
    )


def _sides(found: Mapping[float, Sides]) -> Iterator[tuple[float, Who, list[Window]]]:
    for load, sides in found.items():
        yield load, "baseline", sides.baseline
        yield load, "candidate", sides.candidate


def _memory_s(windows: Sequence[Window]) -> float | None:
    series = [w.traffic.in_flight for w in windows if w.traffic and w.traffic.in_flight]
    if not series:
        return None
    steps = correlation_time(series)
    step_s = sum(map(seconds, windows)) / sum(map(len, series))
    return None if steps is None else steps * step_s


def load_codes(windows: Sequence[Window], curve: LoadCurve) -> list[str]:
    """What went wrong: ``late_sends``, ``short_against_queue``, and at its own load ``failed_requests``."""
    found = by_load(windows)
    memory_s = curve.correlation_s.value or 0.0
    lengths = [seconds(window) for sides in found.values() for side in sides for window in side]
    late = any(_is_late(mine) for _, _, mine in _sides(found))
    short = bool(lengths) and min(lengths) < MEMORIES * memory_s
    short |= curve.unit == "request/s" and not all(is_told(mine) for _, _, mine in _sides(found))
    failed = any(
        (FAILED.level(point.side(side).metrics).value or 0.0) > FAILS
        for point in curve.points
        for side in WHO
        if point.load == curve.headline
    )
    told = {"failed_requests": failed, "late_sends": late, "short_against_queue": short}
    return [code for code, found in told.items() if found]


def _is_late(windows: Sequence[Window]) -> bool:
    """Whether over 5 % of the time that one model's requests took at one load had passed unsent.

    Where few were answered, what all were in flight tells how long they took.
    """
    known = [w.traffic for w in windows if w.traffic]
    late_s = sum(each.late_s * each.due for each in known)
    means = [
        (sum(each.e2e.seconds) / len(each.e2e.seconds), each.e2e.n)
        for each in known
        if each.e2e.seconds
    ]
    taken_s = sum(mean_s * n for mean_s, n in means)
    return late_s > LATE * max(taken_s, sum(each.flight_s for each in known))
