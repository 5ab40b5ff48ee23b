"""The frontier with its doubt: how sure each run's place on it is, resampled over blocks and items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import moocore
import numpy as np
import numpy.typing as npt

from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.frontiers.draws import (
    DRAWS,
    SEED,
    Array,
    answers,
    changes,
    means,
    per_solved,
    resampled,
    stayed,
)
from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    SECONDS_PER_TOKEN,
    TOKENS_PER_S,
    Metric,
)
from greenbench.schema.record import Record
from greenbench.stats.intervals import CONFIDENCE, Interval
from greenbench.stats.shrinkage import moderated, shrunk

HYPERVOLUME_DRAWS = 200
REFERENCE = Point(quality=-10.0, cost=1.0)
"""What the hypervolume is counted from: 10 points below the baseline, at the baseline's cost."""
LIKELY = 0.5
"""A run is called a member of the frontier where it is one in so many of the draws: by chance alone, many
are in a few."""
APART = (1 - CONFIDENCE) / 2  # two runs are told apart where all but this share of draws agree


class Rival(NamedTuple):
    """A run that is at least as good in quality and cost, and better in one."""

    label: str
    quality: float
    """By so many points."""
    cost: float
    """The rival's cost as a share of this run's."""
    probability: float
    """Share of the draws in which it is."""


class Standing(NamedTuple):
    """A run's place: its probability of being on the frontier, its equals and who beats it most surely."""

    probability: float
    ties: tuple[str, ...]
    rival: Rival | None


class Draws(NamedTuple):
    """Resampled places of the same runs, in columns: change of quality in points, ratios of cost."""

    labels: list[str]
    points: list[Point]
    quality: Array
    cost: Array


class _Drawn(NamedTuple):
    """One run: where it is, and where its draws are."""

    point: Point
    quality: Array
    cost: Array
    answers: bytes = b""
    """Which items it answered otherwise, where quality is of these alone."""
    blocks: int = 0
    """Of which its cost is drawn; 0: of something else."""


def draw(records: Mapping[str, Sequence[Record]], axis: Metric = ENERGY_PER_TOKEN) -> Draws:
    """Resample every run that has both numbers, of its sessions: its blocks, of several sessions these, and
    the items that all runs share; then draw the runs together as far as nothing tells them apart (`shrunk`).

    The runs of a group answered the same items, so that one resample of items serves all. `axis` is joules
    or seconds per token, or joules per solved problem; of the latter, windows and the items asked in them
    are drawn together, of the first session.
    """
    rng = np.random.default_rng(SEED)
    one = _per_solved if axis is ENERGY_PER_SOLVED else partial(_per_token, rng=rng, axis=axis)
    found = {label: drawn for label, sessions in records.items() if (drawn := one(sessions))}
    if not found:
        return Draws([], [], np.empty((DRAWS, 0)), np.empty((DRAWS, 0)))
    points = [drawn.point for drawn in found.values()]
    quality = np.column_stack([drawn.quality for drawn in found.values()])
    cost = np.column_stack([drawn.cost for drawn in found.values()])
    return Draws(
        list(found),
        points,
        shrunk(quality, rng, [drawn.answers or label for label, drawn in found.items()]),
        np.exp(shrunk(moderated(np.log(cost), [drawn.blocks for drawn in found.values()]), rng)),
    )


def _per_token(sessions: Sequence[Record], rng: np.random.Generator, axis: Metric) -> _Drawn | None:
    right = answers(sessions[0])
    change = 100 * (right.candidate - right.baseline)
    sign, read = (-1, TOKENS_PER_S) if axis is SECONDS_PER_TOKEN else (1, axis)
    each = [sign * np.log(block_ratios(record.windows, read.ratio)) for record in sessions]
    logs = each[0] if len(each) == 1 else np.array([some.mean() for some in each if len(some)])
    if not (len(change) and len(logs)):
        return None
    point = Point(float(change.mean()), float(np.exp(logs.mean())))
    quality = 100 * changes(sessions[0], right, rng)
    drawn = means(logs, resampled(len(logs), rng))
    cost = np.exp(stayed(drawn, sessions[0], read.ratio) if len(each) == 1 else drawn)
    return _Drawn(point, quality, cost, change.tobytes(), len(logs))


def _per_solved(sessions: Sequence[Record]) -> _Drawn | None:
    record = sessions[0]
    right, ratio = answers(record), record.solved[-1].ratio.energy_per_solved.value
    if not len(right.candidate) or ratio is None:
        return None
    redraw = per_solved(record)
    point = Point(float(100 * (right.candidate - right.baseline).mean()), ratio)
    return _Drawn(point, 100 * redraw.change, redraw.ratio)


def standings(found: Draws) -> dict[str, Standing]:
    """Every run's standing, by label."""
    shares = _memberships(found).mean(axis=0)
    members = [i for i, member in enumerate(on_frontier(found.points)) if member]
    return {
        label: Standing(
            probability=float(shares[i]),
            ties=tuple(found.labels[j] for j in _ties(found, i)),
            rival=None if i in members else _rival(found, i, members),
        )
        for i, label in enumerate(found.labels)
    }


def _memberships(found: Draws) -> npt.NDArray[np.bool_]:
    return memberships(found.quality, found.cost)


def memberships(
    quality: npt.NDArray[np.floating], cost: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Per draw and run, whether it is on that draw's frontier: better than all that need less."""
    order = np.lexsort((-quality, cost), axis=1)
    quality = np.take_along_axis(quality, order, axis=1)
    best_before = np.maximum.accumulate(quality, axis=1)
    member = np.ones_like(quality, dtype=bool)
    member[:, 1:] = quality[:, 1:] > best_before[:, :-1]
    back = np.empty_like(member)
    np.put_along_axis(back, order, member, axis=1)
    return back


def _ties(found: Draws, i: int) -> list[int]:
    """The runs that neither quality nor cost tells from run `i`."""
    less = (found.cost < found.cost[:, [i]]).mean(axis=0)
    ahead = found.quality - found.quality[:, [i]]
    apart = np.maximum((ahead > 0).mean(axis=0), (ahead < 0).mean(axis=0))
    tied = (less >= APART) & (less <= 1 - APART) & (apart <= 1 - APART)
    return [int(j) for j in np.flatnonzero(tied) if j != i]


def _rival(found: Draws, i: int, members: Sequence[int]) -> Rival:
    """Of the members that beat run `i`, the one that does so in most draws."""
    mine = found.points[i]
    beaten = [
        j
        for j in members
        if found.points[j].quality >= mine.quality and found.points[j].cost <= mine.cost
    ]
    shares = {
        j: float(
            (
                (found.quality[:, j] >= found.quality[:, i])
                & (found.cost[:, j] <= found.cost[:, i])
            ).mean()
        )
        for j in beaten
    }
    j = max(shares, key=lambda j: (shares[j], found.labels[j]))
    other = found.points[j]
    return Rival(
        label=found.labels[j],
        quality=other.quality - mine.quality,
        cost=other.cost / mine.cost,
        probability=shares[j],
    )


def hypervolume(found: Draws) -> Interval | None:
    """Points of quality times share of cost that the frontier wins over `REFERENCE`: mean of the draws.

    By moocore (Fonseca, Paquete and López-Ibáñez, 2006, IEEE CEC). That of what was measured is above the
    truth, as the luckiest of near-equal runs make the frontier. None without runs.
    """
    if not found.labels:
        return None
    step = DRAWS // HYPERVOLUME_DRAWS
    places = zip(found.quality[::step], found.cost[::step], strict=True)
    volumes = [_volume(np.column_stack(place)) for place in places]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(volumes, [tail, 1 - tail])
    return Interval(float(np.mean(volumes)), float(low), float(high), len(found.labels))


def _volume(points: Array) -> float:
    return float(moocore.hypervolume(points, ref=list(REFERENCE), maximise=[True, False]))
