"""Whether a run is shown to keep what the user needs, to break it, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np

from greenbench.analysis.accuracy import Paired, paired_items
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.choices.service import (
    Limits,
    is_at_rates,
    judged,
    serves,
    to_measure,
    too_much,
)
from greenbench.analysis.energy.at_rate import beyond
from greenbench.analysis.energy.per_request import (
    ALWAYS_ON,
    by_block,
    request_ratio,
    saving,
    seconds_per_request,
)
from greenbench.analysis.energy.savings import DAY_S, too_many
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.verdicts import ALPHA
from greenbench.analysis.yardstick import EFFECT, ENERGY, SOLVED, harms, helps, in_energy
from greenbench.schema.metrics import DEVICE_PEAK_BYTES, HOST_PEAK_BYTES, TOKENS_PER_S, TPOT, TTFT
from greenbench.schema.quantity import Quantity, missing, said
from greenbench.stats.items import items_to_tell, p_noninferiority
from greenbench.wording import ESTIMATE, TIMES, number, plain

POWER = 0.8  # chance that the items asked for would show it, if what was seen is true
MOST_ITEMS = 800  # of a task; where more are needed, all are asked for
METER = "a wall meter, or a machine with an energy counter (then without meter=)"
NOT_IDLE = "; the idle power of the time between is not counted, as it is where a rate is given"
NO_LIMITS = Limits()
Outcome = Literal["kept", "broken", "unsure"]


class Check(NamedTuple):
    """One need against one run."""

    what: str
    outcome: Outcome
    why: str
    likely: bool = True
    """Whether the best guess keeps the need."""
    settle: Mapping[str, str] = {}
    """Overrides of the run that would settle it."""
    takes: str = ""
    """What those add, in words."""


def checks(row: Row, wanted: Needs) -> list[Check]:
    """Every need, of quality, energy, latency and memory, against one run."""
    return [
        quality(row, wanted.quality_loss),
        energy(row, wanted.daily, wanted.within),
        *limits(row.metrics, wanted, _tier(row)),
        *_at_rate(row, wanted),
    ]


def _at_rate(row: Row, wanted: Needs) -> list[Check]:
    """Whether one device serves the rate asked for; nothing where none is, or no limit and no load."""
    rate, within = wanted.rate, wanted.within
    if rate is None or (row.record.load is None and not any(within)):
        return []
    most = serves(row.record, "candidate", within)
    settle = to_measure(row.record.command, within)
    serving = f"one device serves {_shown(most, ' requests/s')} ({judged(row.record, within)})"
    seen = f"rate: {serving}, asked {rate:g}"
    if most.value is None and not is_at_rates(row.record):
        return [
            Check("rate", "unsure", f"rate: {most.reason}", False, settle, "requests at a rate")
        ]
    if most.low is not None and rate <= most.low:
        return [Check("rate", "kept", seen)]
    if most.high is not None and rate >= most.high:
        return [Check("rate", "broken", f"{seen}; --devices says how many do", False)]
    likely = most.value is not None and rate <= most.value
    return [Check("rate", "unsure", seen, likely, settle, "rates up to the most that is served")]


def _tier(row: Row) -> str:
    return row.record.spec.protocol.tier


def _more(row: Row) -> tuple[Mapping[str, str], str]:
    """What would show a saving: more sessions where there are several, as these differ; else `_longer`."""
    if not row.sessions:
        return _longer(_tier(row))
    return {"sessions": str(2 * len(row.sessions))}, "more sessions, as those that there are differ"


def _longer(tier: str) -> tuple[Mapping[str, str], str]:
    """More blocks, and longer windows, than those of `tier`."""
    if tier == "publish":
        return {"protocol.max_blocks": "60"}, "up to 60 blocks"
    return {"protocol": "publish"}, "longer windows and more blocks"


def quality(row: Row, margin: float) -> Check:
    """Non-inferiority, paired by item: Tango's score test, or a t-test (see `paired`)."""
    items = paired_items(row.record.quality, accuracy=True)
    before, after = items.baseline, items.candidate
    if not before:
        return Check("quality", "unsure", "quality: no accuracy task was scored", False,
                     {"task": "core"}, "accuracy tasks")  # fmt: skip
    ones = [1.0] * len(before)
    p_value = p_noninferiority(before, after, ones, margin / 100, items.documents)
    seen = f"{_shown(row.change, ' points', change=True)} on {len(before)} items"
    interval = row.change.bounds
    if p_value is not None and p_value < ALPHA:
        return Check("quality", "kept",
                     f"quality: {seen}; a loss of {_points(margin)} or more is excluded "
                     f"(p = {p_value:.2g})")  # fmt: skip
    if interval and interval[1] < -margin:
        return Check("quality", "broken", f"quality: {seen}; more than {margin:g} is lost", False)
    likely = row.change.value is not None and row.change.value > -margin
    why = f"quality: {seen}; a loss of {_points(margin)} or more is not excluded"
    more, settle = _more_items(row, items, margin)
    return Check("quality", "unsure", why, likely, settle, more)


def _points(margin: float) -> str:
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def _more_items(row: Row, items: Paired, margin: float) -> tuple[str, Mapping[str, str]]:
    """How many items would tell."""
    change = np.subtract(items.candidate, items.baseline)
    needed = items_to_tell(change, margin / 100, ALPHA, POWER, items.documents)
    tasks = sum(score.is_accuracy for score in row.record.quality)
    each = (
        100 * ceil(max(needed, len(change)) / tasks / 100) if isfinite(needed) else MOST_ITEMS + 1
    )
    if each > MOST_ITEMS:
        return "every item of its tasks", {"task.items": "0"}
    return f"about {each} items of each task", {"task.items": str(each)}


def energy(row: Row, requests_per_day: float | None = None, within: Limits = NO_LIMITS) -> Check:
    """Whether measured joules are shown to be saved, of a request, or of a solved problem.

    Where requests are at a rate and answers were graded, those of a request decide, unless a solved problem
    is shown to take more.
    """
    found = _energy(row, requests_per_day, within)
    if requests_per_day is None or in_energy([row]) is not SOLVED:
        return found
    solved = row.ratio(SOLVED.metric)
    said = f"{found.why}; per solved problem: {_shown(solved, TIMES)} the baseline's"
    if harms(solved, SOLVED):
        return Check("energy", "broken", f"{said}: no saving", False)
    return found._replace(why=said)


def _energy(row: Row, requests_per_day: float | None, within: Limits) -> Check:
    """Whether measured joules per token and per request, or per solved problem, are shown to be saved.

    A device is taken to stay on, so that the idle power of the time that a request frees counts too; under
    load at a rate it is that rate's joules that count, where one device of each model serves it `within`
    limits.
    """
    rate = None if requests_per_day is None else requests_per_day / DAY_S
    yardstick = in_energy([row]) if rate is None else ENERGY
    graded = yardstick is SOLVED
    request = row.ratio(SOLVED.metric) if graded else request_ratio(row, rate)
    per = "solved problem" if graded else "request"
    seen = f"energy per {per}: {_shown(request, TIMES)} the baseline's"
    tier = _tier(row)
    longer = {} if tier in {"dev", "publish"} else {"protocol": "dev"}
    likely = request.value is not None and request.value < 1
    if not row.energy.is_measured:
        said = "estimated, not measured" if row.energy.is_estimate else "not known"
        wall = {"meter": "wall", "meter.wall_log": "FILE.csv"}
        fast = (row.ratio(TOKENS_PER_S).value or 0.0) >= 1  # the best guess about joules
        return Check(
            "energy", "unsure", f"energy: the joules are {said}", fast, longer | wall, METER
        )
    if longer:
        return Check("energy", "unsure", f"{seen}, but tier {plain(tier)} makes no claims", likely,
                     longer, "longer windows")  # fmt: skip
    if rate is not None and row.record.load is not None:
        return _energy_at(row, request, rate, within)
    verdict = row.verdicts.get(yardstick.metric.ratio)
    saves = verdict.verdict == "saves" if verdict else helps(row.ratio(yardstick.metric), yardstick)
    interval = request.bounds
    if saves and interval and interval[1] < 1:
        gross = Check("energy", "kept", seen)
    elif verdict and verdict.verdict in {"costs", "equivalent"}:
        gross = Check("energy", "broken", f"{seen}: no saving", False)
    else:
        gross = Check("energy", "unsure", f"{seen}: a saving is not shown", likely, *_more(row))
    if graded:
        return gross._replace(why=f"{gross.why}{NOT_IDLE}")
    return _always_on(row, gross, seen, requests_per_day)


def _energy_at(row: Row, ratio: Quantity, rate: float, within: Limits) -> Check:
    """Of a run under load, always-on, at a rate between those that were measured."""
    crowded = too_much(row.record, within, rate)
    if crowded or ratio.value is None:
        why = f"{crowded or beyond(row.record, rate) or ratio.reason}; --devices takes as many as it needs"
        return Check("energy", "unsure", f"energy per request at {rate:.3g} requests/s: {why}", False,
                     to_measure(row.record.command, within), "that rate")  # fmt: skip
    seen = f"energy per request at {rate:.3g} requests/s: {_shown(ratio, TIMES)} the baseline's"
    low, high = ratio.bounds or (0.0, np.inf)
    if helps(ratio, ENERGY):
        return Check("energy", "kept", seen)
    if low > 1 or (low >= 1 - EFFECT and high <= 1 + EFFECT):
        return Check("energy", "broken", f"{seen}: no saving", False)
    return Check("energy", "unsure", f"{seen}: a saving is not shown", ratio.value < 1, *_more(row))


def _always_on(row: Row, gross: Check, seen: str, requests_per_day: float | None) -> Check:
    """With idle power counted, which decides; all joules do where requests do not fit into a day.

    A candidate that is no slower frees time, or none, and so saves no more than `gross` says; a slower one
    idles less, and may save where gross joules do not.
    """
    slower = _is_slower(row)
    if requests_per_day is not None and too_many(row, requests_per_day, ALWAYS_ON):
        return gross
    if gross.outcome != "kept" and not slower:
        return gross
    found = saving(row, ALWAYS_ON)
    said = f"{seen}; on a device that stays on a request saves {_shown(found, ' J')}"
    if found.value is None:
        return Check("energy", "unsure", said, True, {"protocol.idle_s": "30"}, "its idle power")
    low, high = found.bounds or (-np.inf, np.inf)
    least_j = EFFECT * fmean(before.energy_j for before, _ in by_block(row.record))
    if low > 0 and (gross.outcome == "kept" or found.value > least_j):
        return Check("energy", "kept", said)
    if high <= 0 or (gross.outcome == "broken" and high <= least_j):
        return Check("energy", "broken", f"{said}: nothing", False)
    return Check("energy", "unsure", f"{said}: not shown", found.value > 0, *_more(row))


def _is_slower(row: Row) -> bool:
    """Whether a request takes the candidate's device longer."""
    before, after = seconds_per_request(row.record) or (0.0, 0.0)
    return after > before


def limits(metrics: Mapping[str, Quantity], wanted: Needs, tier: str) -> list[Check]:
    """Latency and memory, where they were asked for."""
    rows = (
        ("time per output token", TPOT, wanted.token_ms),
        ("time to the first token", TTFT, wanted.first_token_ms),
    )
    found = [
        _limit(what, metric.level(metrics).scaled(1e3, "ms"), most, tier)
        for what, metric, most in rows
        if most is not None
    ]
    if wanted.memory_gb is not None:
        peak = memory(metrics).scaled(1e-9, "GB")
        found.append(_limit("peak memory", peak, wanted.memory_gb, tier))
    return found


def memory(metrics: Mapping[str, Quantity]) -> Quantity:
    """Peak bytes of the device, or of the host where the device has none of its own."""
    peaks = [metrics.get(peak.name) for peak in (DEVICE_PEAK_BYTES, HOST_PEAK_BYTES)]
    known = [peak for peak in peaks if peak and peak.value is not None]
    return known[0] if known else missing("B", "no peak was recorded")


def _limit(what: str, found: Quantity, most: float, tier: str) -> Check:
    seen = f"{what}: {_shown(found, f' {found.unit}')}, allowed {most:g} {found.unit}"
    if found.value is None:
        return Check(what, "unsure", seen, False)
    exact = found.provenance == "measured:memory"  # a maximum has no interval
    low, high = found.bounds or ((found.value,) * 2 if exact else (-np.inf, np.inf))
    if high <= most:
        return Check(what, "kept", seen)
    if low > most:
        return Check(what, "broken", seen, False)
    why = f"{seen}: its interval holds the limit"
    return Check(what, "unsure", why, found.value <= most, *_longer(tier))


def _shown(quantity: Quantity, suffix: str, *, change: bool = False) -> str:
    """A number with its interval, in plain text."""
    if quantity.value is None:
        return f"unknown ({plain(quantity.reason)})"
    if quantity.bounds is None:
        mark = ESTIMATE if quantity.is_estimate else ""
        return f"{mark}{number(quantity.value)}{suffix}"
    return said(quantity, suffix=suffix, change=change, decimals=1 if change else None)
