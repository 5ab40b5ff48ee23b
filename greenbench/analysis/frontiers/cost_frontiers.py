"""The frontier by other axes: quality against joules per correct answer, latency and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.energy.energy_by_phase import request_joules
from greenbench.analysis.frontiers.frontier_confidence import (
    item_weights,
    means,
    memberships,
    resampled,
)
from greenbench.analysis.groups.rows import Row
from greenbench.schema.metrics import MODEL_BYTES, TPOT
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.stats.intervals import CONFIDENCE

DRAWS, SEED = 1000, 0
COSTS: Final = {
    "correct": "J per correct answer",
    TPOT.ratio: "ms per output token",
    MODEL_BYTES.ratio: "bytes of the weights",
}
NO_JOULES = "no valid block has joules, or no item was answered right"
Array = npt.NDArray[np.floating]


class Drawn(NamedTuple):
    """One run, resampled: its change of quality in points, its costs by name, J per correct answer."""

    quality: Array
    costs: dict[str, Array]
    correct_j: Quantity


class Answers(NamedTuple):
    """Whether each accuracy item was right, in an order that all runs of a table share."""

    baseline: Array
    candidate: Array


def answers(record: Record) -> Answers:
    """All accuracy items of a run, by task."""
    kept = sorted((s for s in record.quality if s.is_accuracy), key=lambda s: s.task)
    items = [item for score in kept for item in score.items]
    return Answers(
        np.array([item.baseline for item in items], dtype=float),
        np.array([item.candidate for item in items], dtype=float),
    )


class Resampler:
    """Draws items once for all runs that answered as many, and blocks for each run anew."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(SEED)

    def shares(self, right: Array) -> Array:
        """The share of items right, in each draw."""
        return item_weights(len(right))[:DRAWS] @ right

    def blocks(self, n: int) -> npt.NDArray[np.int32]:
        """Places of `n` resampled blocks, in each draw."""
        return resampled(n, self._rng, DRAWS)


def drawn(row: Row, resampler: Resampler) -> Drawn | None:
    """A run resampled; None where it has no accuracy. A cost that it lacks is left out."""
    found = answers(row.record)
    if not len(found.candidate):
        return None
    before, after = resampler.shares(found.baseline), resampler.shares(found.candidate)
    costs: dict[str, Array] = {}
    size = row.ratio(MODEL_BYTES).value
    if size is not None:
        costs[MODEL_BYTES.ratio] = np.full(DRAWS, size)
    ratios = np.log(block_ratios(row.record.windows, TPOT.ratio))
    if len(ratios):
        costs[TPOT.ratio] = np.exp(means(ratios, resampler.blocks(len(ratios))))
    joules = request_joules(row.record, "baseline"), request_joules(row.record, "candidate")
    correct = missing("J", row.energy.reason or NO_JOULES)
    if _usable(*joules, after):
        logs = np.log(joules[1]) - np.log(joules[0])
        places = resampler.blocks(len(logs))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.exp(means(logs, places)) * before / after
            costs["correct"] = np.where(after > 0, ratio, np.inf)
        correct = _correct(row, np.array(joules[1]), found.candidate, places, resampler)
    thin = {name: cost.astype(np.float32) for name, cost in costs.items()}
    return Drawn((100 * (after - before)).astype(np.float32), thin, correct)


def _usable(baseline: Sequence[float], candidate: Sequence[float], right: Array) -> bool:
    paired = len(baseline) == len(candidate) > 0
    return paired and min(*baseline, *candidate) > 0 and bool(right.max() > 0)


def _correct(
    row: Row,
    joules: Array,
    right: Array,
    places: npt.NDArray[np.int32],
    resampler: Resampler,
) -> Quantity:
    """Joules of a request over the share of items right, with the percentiles of both resampled."""
    if right.mean() == 0:
        return missing("J", NO_JOULES)
    logs = np.log(joules)
    shares = resampler.shares(right)
    value = float(np.exp(logs.mean()) / right.mean())
    rates = shares / np.exp(means(logs, places))  # 0, and no infinity, where none is right
    few, many = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    known = len(joules) > 1 and few > 0
    return Quantity(
        value=value,
        unit="J",
        provenance=row.energy.provenance,
        n=len(joules),
        low=min(float(1 / many), value) if known else None,
        high=max(float(1 / few), value) if known else None,
        reason=None if known else "one block, or draws without a right item, have no interval",
    )


class Line(NamedTuple):
    """One run: how surely it is on each frontier."""

    row: Row
    shares: dict[str, float]
    correct_j: Quantity


def lines(rows: Sequence[Row]) -> list[Line]:
    """One line for each run with accuracy, in the order of `rows`."""
    resampler = Resampler()
    known = [(row, one) for row in rows if (one := drawn(row, resampler))]
    shares: list[dict[str, float]] = [{} for _ in known]
    for name in COSTS:
        places = [index for index, (_, one) in enumerate(known) if name in one.costs]
        if len(places) > 1:
            quality = np.column_stack([known[index][1].quality for index in places])
            cost = np.column_stack([known[index][1].costs[name] for index in places])
            found = memberships(quality, cost).mean(axis=0)
            for index, share in zip(places, found, strict=True):
                shares[index][name] = float(share)
    return [
        Line(row, share, one.correct_j) for (row, one), share in zip(known, shares, strict=True)
    ]
