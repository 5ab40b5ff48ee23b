"""The load at which the model that takes less energy changes, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import exp, isfinite, log
from typing import NamedTuple

import numpy as np

from greenbench.analysis.blocks import Taken
from greenbench.analysis.load_point import Sides, requests
from greenbench.analysis.readings import joules
from greenbench.schema.metrics import ENERGY_PER_REQUEST
from greenbench.schema.quantity import Provenance, Quantity, missing, named
from greenbench.schema.traffic import Crossing, LoadPoint, Side
from greenbench.schema.window import Window
from greenbench.stats.intervals import t_quantile
from greenbench.stats.standard_errors import Logs

FEW_BLOCKS = "no interval: fewer than two blocks count at all loads about it"


class Change(NamedTuple):
    """Two neighbouring points, of those whose ratio is shown to differ from 1, that differ in which way."""

    start: int
    end: int


class Line(NamedTuple):
    """From load to load, straight in the logarithm of the load."""

    loads: list[float]
    """Their logarithms."""
    logs: list[Logs]
    """At each load, of joules per request: baseline and candidate, by block; (2, blocks)."""
    taken: Taken
    blocks: int
    """Those that count at every load; of fewer than two, `logs` are of each load's own."""


def crossing(
    points: Sequence[LoadPoint],
    found: Mapping[float, Sides],
    unit: str,
    no_energy: str,
    *,
    planned: int | None = None,
    in_turn: bool = False,
) -> Crossing:
    """Where candidate over baseline in joules per request passes 1, always-on; saturated loads take part.

    It is shown if the ratio's interval lies on one side of 1 at a measured load below it and on the other
    side at one above it. Between those two it is where the blocks' mean log-ratio, a straight line from
    point to point in the logarithm of the load, first passes 0; its interval holds every load at which the
    line does not differ from 0, by the blocks that count at all loads between the two, and pays for how they
    were taken as a ratio's does. `planned` and `in_turn` as in `load_point`. Of several the first is taken,
    and the reason says how many there are.
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
    known = [place for place in range(start, end + 1) if ratios[place].value is not None]
    between = {points[place].load: found[points[place].load] for place in known}
    load = _where(_line(between, planned, in_turn=in_turn), ratios[start].provenance, unit)
    if len(changes) > 1:
        more = f"the first of {len(changes)}: the better one changes more than once"
        load = load.model_copy(update={"reason": "; ".join(filter(None, [more, load.reason]))})
    return Crossing(load=load, below=_better(signs[start]))


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


def _line(found: Mapping[float, Sides], planned: int | None, *, in_turn: bool) -> Line:
    units = [
        {before.place.unit for before, after in zip(*sides, strict=True)
         if before.place and min(_each_j(before), _each_j(after)) > 0}
        for sides in found.values()
    ]  # fmt: skip
    common = set.intersection(*units)
    counted = [common] * len(units) if len(common) > 1 else units
    kept = [
        Sides(*([w for w in side if w.place and w.place.unit in mine] for side in sides))
        for sides, mine in zip(found.values(), counted, strict=True)
    ]
    logs = [np.log([[_each_j(window) for window in side] for side in sides]) for sides in kept]
    taken = kept[0].taken(planned, in_turn=in_turn)
    return Line([log(load) for load in found], logs, taken, len(common))


def _each_j(window: Window) -> float:
    """Joules per request; 0 where there is none."""
    made = requests(window)
    return (joules(window) or 0.0) / made if made else 0.0


def _where(line: Line, source: Provenance, unit: str) -> Quantity:
    whole = _passes(line)
    if whole is None:
        return missing(unit, "not shown: between the two loads the blocks' mean does not pass 1")
    count = line.blocks if line.blocks > 1 else min(logs.shape[1] for logs in line.logs)
    value = {"value": exp(whole), "unit": unit, "provenance": source, "n": count}
    if line.blocks < 2:
        return Quantity(**value, reason=FEW_BLOCKS)
    ends = [whole, *_ends(line)]
    return Quantity(**value, low=exp(min(ends)), high=exp(max(ends)))


def _passes(line: Line) -> float | None:
    """Logarithm of the load at which the mean over blocks first passes 0, from its sign at the start."""
    means = [float((logs[1] - logs[0]).mean()) for logs in line.logs]
    for (x, y), (next_x, next_y) in pairwise(zip(line.loads, means, strict=True)):
        if y * next_y <= 0 and y != next_y:
            return x + (next_x - x) * y / (y - next_y)
    return None


def _ends(line: Line) -> Iterator[float]:
    """Logarithms of the loads between which the line is not shown to differ from 0: Fieller's interval.

    Its square less that of half of its interval is a parabola between two loads, for each error that it may
    have. E. C. Fieller, J. R. Statist. Soc. B 16 (1954) 175. At either end of the line it is shown, by its
    load's own ratio: nothing is beyond.
    """
    points = list(zip(line.loads, line.logs, strict=True))
    yield from (x for x, logs in (points[0], points[-1]) if min(_apart(logs, line.taken)) <= 0)
    for (x, here), (next_x, there) in pairwise(points):
        steps = [_apart(here + part * (there - here), line.taken) for part in (0.0, 0.5, 1.0)]
        for start, middle, end in zip(*steps, strict=True):
            bent = 2 * (start - 2 * middle + end)
            for root in np.roots([bent, end - start - bent, start]) if isfinite(bent) else ():
                if np.isreal(root) and 0 <= root.real <= 1:
                    yield x + (next_x - x) * float(root.real)


def _apart(logs: Logs, taken: Taken) -> list[float]:
    """By each error of the mean log-ratio, its square less that of half of its interval: below 0, it may be
    0."""
    mean = float((logs[1] - logs[0]).mean())
    return [mean**2 - (t_quantile(e.freedom + 1) * e.size) ** 2 for e in taken.errors(logs)]
