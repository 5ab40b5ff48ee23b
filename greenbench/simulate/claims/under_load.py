"""Intervals under load: joules, latencies, the most that is served, and where the better model changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import exp, expm1, inf, log
from typing import Any, Final, NamedTuple

import numpy as np

from greenbench.analysis.blocks import planned
from greenbench.analysis.idle import idle_power
from greenbench.analysis.load_curve import load_codes, load_curve
from greenbench.measure.schedule import Cell
from greenbench.measure.tally import latencies
from greenbench.schema import metrics
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.metrics import Metric
from greenbench.schema.traffic import LoadCurve, Traffic
from greenbench.schema.window import WHO, Window
from greenbench.simulate.block_values import protocol
from greenbench.simulate.claims.said import Case, Told, kept
from greenbench.simulate.served_queue import (
    IDLE_W,
    Lab,
    Model,
    in_order,
    mean_s,
    measured,
    place,
    quantile_s,
    span,
)
from greenbench.simulate.weather import Weather
from greenbench.stats.intervals import CONFIDENCE

CROSSING: Final = "load at which the better model changes"
LOADS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
CROSSES: Final = 5.0
NAMES: Final[Mapping[Metric, str]] = {
    metrics.ENERGY_PER_REQUEST: "J/request",
    metrics.MARGINAL_ENERGY_PER_REQUEST: "J/request above idle",
    metrics.POWER: "watts",
    metrics.THROUGHPUT: "requests/s",
    metrics.IN_FLIGHT: "requests in flight",
    metrics.GOOD: "share in time",
    metrics.GOODPUT: "requests/s in time",
    metrics.E2E: "p50 of latency",
    metrics.E2E_P90: "p90 of latency",
    metrics.E2E_P99: "p99 of latency",
}
RESTS, RESTS_APART = 2, 0.005
"""Looks at idle power with both models loaded, as many as a run has; by which one differs from the next."""
IN_TIME: Final = 0.9
"""Of the requests, which must keep the limit."""
SLOW, FAST = Model(0.025, 200.0), Model(0.020, 200.0)
"""At most 40 and 50 requests a second."""


class UnderLoad(NamedTuple):
    """What is measured, and where."""

    where: str
    lab: Lab
    in_turn: bool = False


class Straight(NamedTuple):
    """A lab without requests, whose log-ratio is a line in the load's logarithm."""

    weather: Weather
    steep: float
    tier: str = "dev"
    in_turn: bool = False


ALONE: Final = Traffic(
    due=1, ended=1, failed=0, unfinished=0, requests=1.0, good=None, late_s=0.0, ttft=latencies([]),
    tpot=latencies([]), e2e=latencies([]), in_flight=[], flight_s=0.0, busy=0.0,
)  # fmt: skip
"""One request in a window."""


def _lab(loads: tuple[float, ...], weather: Weather, **given: Any) -> Lab:
    """One server, one request after another."""
    return Lab("M/M/1", SLOW, FAST, loads, protocol("dev"), weather)._replace(**given)


def limited(loads: tuple[float, ...], most: float) -> Lab:
    """In which the baseline answers `IN_TIME` of its requests within the limit up to a load of `most`."""
    limit_s = quantile_s("M/M/1", SLOW.answer_s, most, IN_TIME)
    return _lab(loads, QUIET, slo=SloSpec(ttft_ms=1000 * limit_s, share=IN_TIME))


QUIET: Final = Weather("independent", 0.02)
NEAR, FIVE = (12.0, 20.0, 28.0), (12.0, 16.0, 20.0, 24.0, 28.0)
QUEUES: Final = (
    UnderLoad("no queue, blocks that spread 2 %",
              _lab(NEAR, QUIET, service="ample", baseline=Model(0.2, 25.0), candidate=Model(0.16, 25.0))),
    UnderLoad("a queue, half busy, blocks that spread 2 %", limited(NEAR, 22.0)),
    UnderLoad("a queue, half busy, blocks that spread 5 %", _lab(NEAR, Weather("independent", 0.05))),
    UnderLoad("a queue, half busy, 80 requests in a block",
              _lab((4.0, 8.0, 11.0), QUIET, baseline=Model(0.0625, 200.0), candidate=Model(0.05, 200.0))),
    UnderLoad("a queue of equal answers, 60 % busy, AR(1), 2 %",
              _lab((16.0, 24.0, 28.0), Weather("ar1", 0.02), service="M/D/1")),
    UnderLoad("a queue, half busy, models in turn, each loading 1 % off",
              _lab(NEAR, Weather("independent", 0.01, reload=0.01)), in_turn=True),
)  # fmt: skip
MOST: Final = (
    ("between two of five loads", limited(FIVE, 22.0), 22.0),
    ("1 % below one of five loads", limited(FIVE, 19.8), 19.8),
    ("no limits, between two of three loads",
     _lab((100.0, 140.0, 300.0), QUIET, baseline=Model(0.005, 200.0), candidate=Model(0.004, 200.0)), 200.0),
)  # fmt: skip
STRAIGHT: Final = (
    Straight(Weather("independent", 0.01), 0.1), Straight(Weather("independent", 0.03), 0.1),
    Straight(Weather("independent", 0.05), 0.1), Straight(Weather("independent", 0.05), 0.3),
    Straight(Weather("ar1", 0.03), 0.1), Straight(Weather("heavy tails", 0.03), 0.1),
    Straight(Weather("independent", 0.02), 0.1, "publish"),
    Straight(Weather("independent", 0.01, reload=0.01), 0.1, in_turn=True),
    Straight(Weather("independent", 0.01, reload=0.01), 0.1, "publish", in_turn=True),
)  # fmt: skip
SPINNING: Final = _lab((8.0, 16.0, 24.0), QUIET, candidate=FAST._replace(spins_w=14.0))


def curve_of(lab: Lab, dice: np.random.Generator, *, in_turn: bool = False) -> LoadCurve | None:
    """As a run draws it; null where windows are too short for its queue, and it says that of itself."""
    found = measured(lab, dice, in_turn=in_turn)
    powers_w = IDLE_W * np.exp(RESTS_APART * dice.standard_normal(RESTS))
    long_s = lab.plan.idle_s
    rests = [
        Window(phase="idle", who="both", start_s=0.0, end_s=long_s, iterations=0, tokens=0,
               prompt_tokens=0, energy=[span(0.0, long_s, long_s * power_w)])
        for power_w in powers_w.tolist()
    ]  # fmt: skip
    curve = load_curve(
        found, idle_power(rests, "none"), lab.slo, "request/s", lab.loads[len(lab.loads) // 2], "none",
        planned=planned(lab.plan.blocks, in_turn=in_turn), in_turn=in_turn,
    )  # fmt: skip
    return None if curve is None or "short_against_queue" in load_codes(found, curve) else curve


def at_load(case: UnderLoad, dice: np.random.Generator) -> list[Told]:
    """What a run says at its own load: of the candidate, and of both."""
    curve = curve_of(case.lab, dice, in_turn=case.in_turn)
    if curve is None:
        return []
    point = next(each for each in curve.points if each.load == curve.headline)
    before, after = (_truth(case.lab, case.lab.model(who), point.load) for who in WHO)
    levels = [
        told
        for metric, true in after.items()
        for told in kept(NAMES[metric], metric.level(point.candidate.metrics), true)
    ]
    ratios = [
        told
        for metric, true in after.items()
        if metric.ratio
        for told in kept(
            f"{NAMES[metric]}, ratio", point.ratios[metric.ratio], true / before[metric]
        )
    ]
    return levels + ratios


def _truth(lab: Lab, model: Model, rate: float) -> dict[Metric, float]:
    """In the long run."""
    above_j = model.joules(rate)
    at = partial(quantile_s, lab.service, model.answer_s, rate)
    found = {
        metrics.ENERGY_PER_REQUEST: IDLE_W / rate + above_j,
        metrics.MARGINAL_ENERGY_PER_REQUEST: above_j,
        metrics.POWER: IDLE_W + rate * above_j,
        metrics.THROUGHPUT: rate,
        metrics.IN_FLIGHT: rate * mean_s(lab.service, model.answer_s, rate),
        metrics.E2E: at(0.5),
        metrics.E2E_P90: at(0.9),
        metrics.E2E_P99: at(0.99),
    }
    if lab.slo.ttft_ms is None:
        return found
    good = -expm1(-lab.slo.ttft_ms / 1000 * (1 / model.answer_s - rate))
    return found | {metrics.GOOD: good, metrics.GOODPUT: rate * good}


def most_served(lab: Lab, most: float, dice: np.random.Generator) -> list[Told]:
    """Whether the most that the baseline serves lies within its interval, which may be open at an end."""
    curve = curve_of(lab, dice)
    if curve is None:
        return []
    found = curve.capacity["baseline"]
    load = found.load
    if load.value is None or (load.low is None and load.high is None):
        return []
    spent_j = IDLE_W / load.value + lab.baseline.joules(load.value)
    return [
        Told(CONFIDENCE, (load.low or 0.0) <= most <= (load.high or inf), "requests/s"),
        *kept("J/request there", found.energy_per_request, spent_j),
    ]


def crosses(lab: Straight, dice: np.random.Generator) -> list[Told]:
    """The load at which the better model changes, where windows have no queue."""
    plan = protocol(lab.tier)

    def take(cell: Cell, start_s: float, noise: float) -> Window:
        own = lab.steep * log((cell.load or 1.0) / CROSSES) if cell.who == "candidate" else 0.0
        end_s = start_s + plan.window_s
        return Window(
            phase="serve", who=cell.who, place=place(cell, LOADS), start_s=start_s, end_s=end_s,
            iterations=1, tokens=1, prompt_tokens=1, traffic=ALONE,
            energy=[span(start_s, end_s, exp(own + noise))],
        )  # fmt: skip

    found = in_order(take, LOADS, lab.weather, plan, dice, in_turn=lab.in_turn)
    curve = load_curve(
        found, {}, SloSpec(), "request/s", LOADS[2], "none",
        planned=planned(plan.blocks, in_turn=lab.in_turn), in_turn=lab.in_turn,
    )  # fmt: skip
    return kept("", curve.crossing.load, CROSSES) if curve else []


def crosses_queueing(lab: Lab, dice: np.random.Generator) -> list[Told]:
    """The same where the candidate's answers take less and its server draws watts while there is a load."""
    curve = curve_of(lab, dice)
    before, after = (lab.model(who) for who in WHO)
    most = after.spins_w / (before.busy_w * before.answer_s - after.busy_w * after.answer_s)
    return kept("", curve.crossing.load, most) if curve else []


def cases(labs: int) -> list[Case]:
    """All of them."""
    found = [
        Case("under load", each.where, "so often", partial(at_load, each), labs) for each in QUEUES
    ]
    found += [
        Case("most that is served", where, "so often", partial(most_served, lab, most), labs // 2)
        for where, lab, most in MOST
    ]
    for each in STRAIGHT:
        kind, spread, _, reload = each.weather
        where = f"{each.tier}, 5 loads, {kind} noise, {100 * spread:g} %, {100 * each.steep:g} % per e-fold"
        shifts = f", models in turn, each loading {100 * reload:g} % off" if each.in_turn else ""
        found.append(Case(CROSSING, where + shifts, "so often", partial(crosses, each), labs))
    where = "dev, 3 loads, a queue, 2 %, a candidate whose server spins"
    found.append(Case(CROSSING, where, "so often", partial(crosses_queueing, SPINNING), labs // 2))
    return found
