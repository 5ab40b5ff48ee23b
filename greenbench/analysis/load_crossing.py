"""The load at which the model that takes less energy changes, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

from greenbench.analysis.load_point import Sides, requests
from greenbench.analysis.readings import joules
from greenbench.schema.metrics import ENERGY_PER_REQUEST
from greenbench.schema.quantity import Provenance, Quantity, missing, named
from greenbench.schema.traffic import Crossing, LoadPoint, Side
from greenbench.stats.intervals import from_logs
from greenbench.stats.resampling import jackknifed

Logs = Mapping[int, float]
"""By block, the logarithm of candidate over baseline in joules per request."""


class Change(NamedTuple):
    """Two neighbouring points, of those whose ratio is shown to differ from 1, that differ in which way."""

    start: int
    end: int


def crossing(
    points: Sequence[LoadPoint], found: Mapping[float, Sides], unit: str, no_energy: str
) -> Crossing:
    """Where candidate over baseline in joules per request passes 1, always-on; saturated loads take part.

    It is shown if the ratio's interval lies on one side of 1 at a measured load below it and on the other
    side at one above it. Between those two it is where the blocks' mean log-ratio, a straight line from
    point to point in the logarithm of the load, first passes 0; its interval is the delete-one-block
    jackknife's. Of several the first is taken, and the reason says how many there are.
    """
    ratios = [named(point.ratios, ENERGY_PER_REQUEST.ratio, "ratio") for point in points]
    signs = [_sign(ratio) for ratio in ratios]
    if all(ratio.value is None for ratio in ratios):
        return Crossing(load=missing(unit, ratios[0].reason or no_energy), below=None)
    shown = [index for index, sign in enumerate(signs) if sign]
    changes = [Change(*pair) for pair in pairwise(shown) if signs[pair[0]] != signs[pair[1]]]
    if not changes:
        return _none(signs, unit)
    start, end = changes[0]
    load = _where(
        [(point.load, _logs(found[point.load])) for point in points[start : end + 1]],
        ratios[start].provenance,
        unit,
    )
    load = _inside(load, points[0].load, points[-1].load)
    if len(changes) > 1:
        more = f"the first of {len(changes)}: the better one changes more than once"
        load = load.model_copy(update={"reason": "; ".join(filter(None, [more, load.reason]))})
    return Crossing(load=load, below=_better(signs[start]))


def _inside(load: Quantity, least: float, most: float) -> Quantity:
    """It, with an interval that ends where nothing was measured."""
    if load.bounds is None or (load.bounds[0] >= least and load.bounds[1] <= most):
        return load
    low, high = max(load.bounds[0], least), min(load.bounds[1], most)
    why = "its interval goes beyond the loads that were measured, and ends there"
    return load.model_copy(update={"low": low, "high": high, "reason": why})


def _sign(ratio: Quantity) -> int:
    """-1 where the candidate is shown to take less, +1 where more, 0 where neither."""
    if ratio.bounds is None:
        return 0
    low, high = ratio.bounds
    return -1 if high < 1 else 1 if low > 1 else 0


def _better(sign: int) -> Side:
    return "candidate" if sign < 0 else "baseline"


def _none(signs: Sequence[int], unit: str) -> Crossing:
    if all(signs):
        side = _better(signs[0])
        why = f"not shown: the {side} takes less at every measured load"
        return Crossing(load=missing(unit, why), below=side)
    why = "not shown: at no two loads is the one shown to take less, and then the other"
    return Crossing(load=missing(unit, why), below=None)


def _logs(sides: Sides) -> Logs:
    found = {}
    for before, after in zip(*sides, strict=True):
        spent = [joules(window) or 0.0 for window in (before, after)]
        made = [requests(window) for window in (before, after)]
        if min(*spent, *made) > 0 and before.place:
            found[before.place.unit] = log(spent[1] / made[1]) - log(spent[0] / made[0])
    return found


def _where(line: Sequence[tuple[float, Logs]], source: Provenance, unit: str) -> Quantity:
    blocks = sorted({block for _, logs in line for block in logs})
    whole = _passes(line)
    without = [_passes(line, left_out=block) for block in blocks]
    if whole is None:
        return missing(unit, "not shown: between the two loads the blocks' mean does not pass 1")
    value = {"value": exp(whole), "unit": unit, "provenance": source, "n": len(blocks)}
    known = [each for each in without if each is not None]
    if len(known) < len(without):
        return Quantity(**value, reason="no interval: it is not there without one of the blocks")
    found = from_logs(jackknifed(whole, known))
    return Quantity(**value, low=found.low, high=found.high, reason=found.reason)


def _passes(line: Sequence[tuple[float, Logs]], left_out: int | None = None) -> float | None:
    """Logarithm of the load at which the mean over blocks first passes 0, from its sign at the start."""
    means = [
        (log(load), sum(kept) / len(kept))
        for load, logs in line
        if (kept := [value for block, value in logs.items() if block != left_out])
    ]
    for (x, y), (next_x, next_y) in pairwise(means):
        if y * next_y <= 0 and y != next_y:
            return x + (next_x - x) * y / (y - next_y)
    return None
