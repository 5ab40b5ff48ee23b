"""The frontier with its doubt: how sure each run's place on it is, resampled over blocks and items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import moocore
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.record import Record
from greenbench.stats.intervals import CONFIDENCE, Interval, t_quantile

DRAWS, SEED = 2000, 0
HYPERVOLUME_DRAWS = 200
REFERENCE = Point(quality=-10.0, energy=1.0)
"""What the hypervolume is counted from: 10 points below the baseline, at the baseline's energy."""
Z = float(ndtri((1 + CONFIDENCE) / 2))
APART = (1 - CONFIDENCE) / 2  # two runs are told apart where all but this share of draws agree

Array = npt.NDArray[np.float64]


class Rival(NamedTuple):
    """A run that is at least as good in quality and energy, and better in one."""

    label: str
    quality: float
    """By so many points."""
    energy: float
    """The rival's energy as a share of this run's."""
    probability: float
    """Share of the draws in which it is."""


class Standing(NamedTuple):
    """A run's place: its probability of being on the frontier, its equals and who beats it most surely."""

    probability: float
    ties: tuple[str, ...]
    rival: Rival | None


class Draws(NamedTuple):
    """Resampled places of the same runs, in columns: change of quality in points, energy ratios."""

    labels: list[str]
    points: list[Point]
    quality: Array
    energy: Array


def draw(records: Mapping[str, Record]) -> Draws:
    """Resample every run that has both numbers: its blocks, and the items that all runs share.

    The runs of a group answered the same items, so that one resample of items serves all.
    """
    rng = np.random.default_rng(SEED)
    items = {label: _changes(record) for label, record in records.items()}
    blocks = {
        label: block_ratios(r.windows, ENERGY_PER_TOKEN.ratio) for label, r in records.items()
    }
    labels = [label for label in records if items[label] and blocks[label]]
    quality = [item_weights(len(items[label])) @ np.asarray(items[label]) for label in labels]
    logs = {label: np.log(blocks[label]) for label in labels}
    energy = [np.exp(means(logs[label], resampled(len(logs[label]), rng))) for label in labels]
    points = [
        Point(float(np.mean(items[label])), float(np.exp(logs[label].mean()))) for label in labels
    ]
    empty = np.empty((DRAWS, 0))
    return Draws(
        labels,
        points,
        np.column_stack(quality) if quality else empty,
        np.column_stack(energy) if energy else empty,
    )


@lru_cache(maxsize=8)
def item_weights(n: int) -> Array:
    """Per draw and item, its share of a resample of `n` items; (DRAWS, n)."""
    picked = resampled(n, np.random.default_rng([SEED, n]))
    return np.stack([np.bincount(places, minlength=n) for places in picked]) / n


def _changes(record: Record) -> list[float]:
    """Change per accuracy item in points, in the items' own order."""
    answers = [score for score in record.quality if score.is_accuracy]
    ordered = sorted(answers, key=lambda score: score.task)
    return [100 * (item.candidate - item.baseline) for score in ordered for item in score.items]


def resampled(n: int, rng: np.random.Generator, draws: int = DRAWS) -> npt.NDArray[np.int32]:
    """Places of `n` values drawn with replacement; (draws, n)."""
    return rng.integers(0, n, size=(draws, n), dtype=np.int32)


def means(values: Array, places: npt.NDArray[np.int32]) -> Array:
    """Means of `values` at `places`, spread as wide as their t interval (Hesterberg, arXiv 1411.5279).

    One value knows no spread.
    """
    n = len(values)
    if n < 2:
        return np.full(len(places), values.mean())
    wider = sqrt(n / (n - 1)) * t_quantile(n) / Z
    return np.asarray(values.mean() + wider * (values[places].mean(axis=1) - values.mean()))


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
    return memberships(found.quality, found.energy)


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
    """The runs that neither quality nor energy tells from run `i`."""
    less = (found.energy < found.energy[:, [i]]).mean(axis=0)
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
        if found.points[j].quality >= mine.quality and found.points[j].energy <= mine.energy
    ]
    shares = {
        j: float(
            (
                (found.quality[:, j] >= found.quality[:, i])
                & (found.energy[:, j] <= found.energy[:, i])
            ).mean()
        )
        for j in beaten
    }
    j = max(shares, key=lambda j: (shares[j], found.labels[j]))
    other = found.points[j]
    return Rival(
        label=found.labels[j],
        quality=other.quality - mine.quality,
        energy=other.energy / mine.energy,
        probability=shares[j],
    )


def hypervolume(found: Draws) -> Interval | None:
    """Points of quality times share of energy that the frontier wins over `REFERENCE`.

    By moocore (Fonseca, Paquete and López-Ibáñez, 2006, IEEE CEC), with a percentile interval over
    the draws. None without runs.
    """
    if not found.labels:
        return None
    step = DRAWS // HYPERVOLUME_DRAWS
    places = zip(found.quality[::step], found.energy[::step], strict=True)
    volumes = [_volume(np.column_stack(place)) for place in places]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(volumes, [tail, 1 - tail])
    value = _volume(np.array(found.points, dtype=float))
    return Interval(value, min(float(low), value), max(float(high), value), len(found.labels))


def _volume(points: Array) -> float:
    return float(moocore.hypervolume(points, ref=list(REFERENCE), maximise=[True, False]))
