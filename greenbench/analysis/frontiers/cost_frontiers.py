"""The frontier by other axes: quality against joules per correct answer, latency and bytes.

Where answers in words were graded, their own joules count: joules per solved problem take the place of joules
per correct answer, whose joules are those of requests of a fixed length.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.energy.energy_by_phase import request_joules
from greenbench.analysis.frontiers.draws import (
    Answers,
    Array,
    answers,
    changes,
    item_means,
    means,
    per_solved,
    resampled,
    spread,
    stayed,
)
from greenbench.analysis.frontiers.frontier_confidence import memberships
from greenbench.analysis.groups.rows import Row
from greenbench.schema.metrics import ENERGY_PER_SOLVED, ENERGY_PER_TOKEN, MODEL_BYTES, TPOT, Metric
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import WHO
from greenbench.stats.intervals import CONFIDENCE
from greenbench.stats.shrinkage import moderated, shrunk

DRAWS, SEED = 1000, 0
CORRECT: Final = "correct"
JOULES: Final = {
    CORRECT: "J per correct answer",
    ENERGY_PER_SOLVED.ratio: "J per solved problem",
}
"""The axis of joules, by what it counts."""
TOKENS: Final = {ENERGY_PER_TOKEN.ratio: "J/token"}
OTHERS: Final = {TPOT.ratio: "ms per output token", MODEL_BYTES.ratio: "bytes of the weights"}
NO_JOULES = "no valid block has joules, or no item was answered right"


class Drawn(NamedTuple):
    """One run, resampled: its change of quality in points, its costs by name, joules per right answer."""

    quality: Array
    costs: dict[str, Array]
    right_j: Quantity
    answers: bytes
    """Which items it answered otherwise than the baseline."""
    blocks: dict[str, int]
    """Of how many blocks a cost is drawn, and of nothing else."""


class Resampler:
    """Draws what items are about once for all runs that answered the same, and blocks for each run anew."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(SEED)

    def shares(self, right: Array, documents: tuple[int, ...]) -> Array:
        """The share of items right, in each draw."""
        return item_means(right, documents, DRAWS)

    def changes(self, record: Record, found: Answers) -> Array:
        """What the share of items right changes by, in each draw."""
        return changes(record, found, self._rng, DRAWS)

    def together(self, draws: Sequence[Array], alike: Sequence[Hashable] | None = None) -> Array:
        """Of several runs, a column each, drawn together as far as nothing tells them apart."""
        return shrunk(np.column_stack(draws), self._rng, alike)

    def blocks(self, n: int) -> npt.NDArray[np.int32]:
        """Places of `n` resampled blocks, in each draw."""
        return resampled(n, self._rng, DRAWS)


def drawn(row: Row, resampler: Resampler, joules: str = CORRECT) -> Drawn | None:
    """A run resampled; None where it has no accuracy. A cost that it lacks is left out.

    `joules` are one of `JOULES`.
    """
    found = answers(row.record)
    if not len(found.candidate):
        return None
    costs: dict[str, Array] = {}
    size = row.ratio(MODEL_BYTES).value
    if size is not None:
        costs[MODEL_BYTES.ratio] = np.full(DRAWS, size)
    blocks: dict[str, int] = {}
    for name in (each.ratio for each in (TPOT, ENERGY_PER_TOKEN) if each is not row.axis):
        logs = np.log(block_ratios(row.record.windows, name))
        if blocks.setdefault(name, len(logs)):
            places = resampler.blocks(len(logs))
            costs[name] = np.exp(stayed(means(logs, places), row.record, name))
    solved = joules == ENERGY_PER_SOLVED.ratio and _is_graded(row)
    of = _per_solved if solved else _per_correct
    quality, cost, right_j = of(row, found, resampler)
    if cost is not None:
        costs[joules] = cost
    thin = {name: cost.astype(np.float32) for name, cost in costs.items()}
    told = (found.candidate - found.baseline).tobytes()
    return Drawn((100 * quality).astype(np.float32), thin, right_j, told, blocks)


def _per_correct(
    row: Row, found: Answers, resampler: Resampler
) -> tuple[Array, Array | None, Quantity]:
    """Change of quality, the ratio of joules of a request over the share right, and those joules."""
    before, after = (
        resampler.shares(items, found.documents) for items in (found.baseline, found.candidate)
    )
    change = resampler.changes(row.record, found)
    joules = request_joules(row.record, "baseline"), request_joules(row.record, "candidate")
    if not (_paired(*joules) and after.max() > 0):
        return change, None, missing("J", row.energy.reason or NO_JOULES)
    logs = np.log(joules[1]) - np.log(joules[0])
    places = resampler.blocks(len(logs))
    with np.errstate(divide="ignore", invalid="ignore"):
        cheaper = stayed(means(logs, places), row.record, ENERGY_PER_TOKEN.ratio)
        ratio = np.exp(cheaper) * before / after
    cost = np.where(after > 0, ratio, np.inf)
    correct = _correct(row, np.array(joules[1]), found, after, places)
    return change, cost, correct


def _per_solved(
    row: Row, found: Answers, resampler: Resampler
) -> tuple[Array, Array | None, Quantity]:
    """Change of quality, the ratio of joules per solved problem, and those of the candidate."""
    redraw = per_solved(row.record, DRAWS)
    level = row.record.solved[
        -1
    ].candidate.energy_per_solved  # of all tasks together, which come last
    return redraw.change, redraw.ratio, level


def _is_graded(row: Row) -> bool:
    """Whether it has graded answers with joules."""
    solved = row.record.solved
    return bool(solved and solved[-1].ratio.energy_per_solved.provenance != "unavailable")


def _is_correct(row: Row) -> bool:
    """Whether it has requests with joules."""
    return _paired(*(request_joules(row.record, who) for who in WHO))


def _paired(baseline: Sequence[float], candidate: Sequence[float]) -> bool:
    return len(baseline) == len(candidate) > 0 and min(*baseline, *candidate) > 0


def _correct(
    row: Row,
    joules: Array,
    found: Answers,
    shares: Array,
    places: npt.NDArray[np.int32],
) -> Quantity:
    """Joules of a request over the share of items right, with the percentiles of both resampled."""
    right = found.candidate
    if right.mean() == 0:
        return missing("J", NO_JOULES)
    logs = np.log(joules)
    value = float(np.exp(logs.mean()) / right.mean())
    documents = len(set(found.documents))
    shares = np.maximum(spread(shares, right.mean(), documents), 0.0)
    spent = stayed(means(logs, places), row.record, ENERGY_PER_TOKEN.ratio, alone=True)
    rates = shares / np.exp(spent)  # 0, and no infinity, where none is right
    few, many = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    known = len(joules) > 1 and documents > 1 and few > 0
    return Quantity(
        value=value,
        unit="J",
        provenance=row.energy.provenance,
        n=len(joules),
        low=min(float(1 / many), value) if known else None,
        high=max(float(1 / few), value) if known else None,
        reason=None
        if known
        else "one block or document, or draws without a right item, have no interval",
    )


class Line(NamedTuple):
    """One run: how surely it is on each frontier."""

    row: Row
    shares: dict[str, float]
    right_j: Quantity


class Frontiers(NamedTuple):
    """The runs of a table on every axis."""

    joules: str
    """One of `JOULES`: which of them all runs have."""
    only_some: bool
    """Whether some of the runs have graded answers and others none, so that they do not count."""
    lines: list[Line]
    """One for each run with accuracy."""
    axis: Metric
    """Of the table's own frontier."""

    @property
    def costs(self) -> Mapping[str, str]:
        """The other axes by what their cost is called."""
        by_token = {} if self.axis is ENERGY_PER_TOKEN else TOKENS
        right = {} if self.joules == self.axis.ratio else {self.joules: JOULES[self.joules]}
        return by_token | right | OTHERS


def frontiers(rows: Sequence[Row]) -> Frontiers:
    """Lines are in the order of `rows`."""
    able = [row for row in rows if len(answers(row.record).candidate)]
    others = [row for row in able if not _is_graded(row)]
    some = len(others) < len(able)
    only_some = some and any(map(_is_correct, others))
    joules = ENERGY_PER_SOLVED.ratio if some and not only_some else CORRECT
    resampler = Resampler()
    known = [(row, one) for row in able if (one := drawn(row, resampler, joules))]
    shares = _shares([one for _, one in known], [joules, *TOKENS, *OTHERS], resampler)
    lines = [Line(row, share, one.right_j) for (row, one), share in zip(known, shares, strict=True)]
    return Frontiers(joules, only_some, lines, rows[0].axis if rows else ENERGY_PER_TOKEN)


def _shares(
    runs: Sequence[Drawn], costs: Collection[str], resampler: Resampler
) -> list[dict[str, float]]:
    """Of each run, by cost, the share of draws in which it is on the frontier."""
    shares: list[dict[str, float]] = [{} for _ in runs]
    for name in costs:
        places = [index for index, one in enumerate(runs) if name in one.costs]
        if len(places) > 1:
            some = [runs[index] for index in places]
            quality = resampler.together(
                [one.quality for one in some], [one.answers for one in some]
            )
            with np.errstate(divide="ignore"):  # a draw in which the baseline answers nothing right
                logs = [np.log(one.costs[name]) for one in some]
            counts = [one.blocks.get(name, 0) for one in some]
            cost = resampler.together([*moderated(np.column_stack(logs), counts).T])
            found = memberships(quality, cost).mean(axis=0)
            for index, share in zip(places, found, strict=True):
                shares[index][name] = float(share)
    return shares
