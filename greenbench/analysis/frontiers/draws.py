"""Draws that all frontiers share: items and blocks of runs, resampled."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from math import inf, sqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from greenbench.analysis.accuracy import paired_items
from greenbench.analysis.blocks import shift_of, stays, valid_blocks
from greenbench.analysis.graded.solved import regrouped
from greenbench.schema.record import Record
from greenbench.stats.intervals import CONFIDENCE, t_quantile
from greenbench.stats.solving import PRIOR, Redrawn, redrawn

DRAWS, SEED = 2000, 0
Z: Final = float(ndtri((1 + CONFIDENCE) / 2))
Array = npt.NDArray[np.floating]


class Answers(NamedTuple):
    """Whether each accuracy item was right, in an order that all runs of a table share."""

    baseline: Array
    candidate: Array
    documents: tuple[int, ...]
    """What each is about, by number: items of one are drawn together."""


def answers(record: Record, without: Collection[str] = ()) -> Answers:
    """All accuracy items of a run, by task, `without` those of some tasks."""
    mine = (s for s in record.quality if s.is_accuracy and s.task not in without)
    kept = sorted(mine, key=lambda s: s.task)
    found = paired_items(kept)
    numbers: dict[str, int] = {}
    return Answers(
        np.array(found.baseline, dtype=float),
        np.array(found.candidate, dtype=float),
        tuple(numbers.setdefault(document, len(numbers)) for document in found.documents),
    )


@lru_cache(maxsize=8)
def item_counts(documents: tuple[int, ...]) -> Array:
    """Per draw and item, how often the document that it is about was drawn; (DRAWS, items), whole numbers.

    Runs that answered the same items share them.
    """
    n = len(set(documents))
    picked = resampled(n, np.random.default_rng([SEED, n]))
    counts = np.stack([np.bincount(places, minlength=n) for places in picked])
    return np.ascontiguousarray(counts[:, documents], dtype=float)


def item_means(items: Array, documents: tuple[int, ...], draws: int = DRAWS) -> Array:
    """The mean over items, in each draw of documents.

    Sums of whole numbers are exact, so that runs with the same answers tie in every draw, on every machine.
    """
    counts = item_counts(documents)[:draws]
    return np.asarray(counts @ items / counts.sum(axis=1))


def changes(record: Record, right: Answers, rng: np.random.Generator, draws: int = DRAWS) -> Array:
    """Of the share of items right, in each draw of documents; candidate less baseline.

    Of answers that differ in no item, or in one direction alone, draws would know too little spread: as in
    `stats.solving` some flips of either kind are had beforehand, but where the answers are the baseline's by
    construction.
    """
    change = right.candidate - right.baseline
    drawn = item_means(change, right.documents, draws)
    if _keeps(record, change):
        return drawn
    gained, lost = rng.standard_gamma(PRIOR, (2, draws))
    n = len(set(right.documents))
    return np.asarray((n * drawn + gained - lost) / (n + gained + lost))


def _keeps(record: Record, change: Array) -> bool:
    """Whether the answers are the baseline's, by construction and as seen."""
    return not change.any() and all(part.lossless for part in record.techniques)


def resampled(n: int, rng: np.random.Generator, draws: int = DRAWS) -> npt.NDArray[np.int32]:
    """Places of `n` values drawn with replacement; (draws, n)."""
    return rng.integers(0, n, size=(draws, n), dtype=np.int32)


def means(values: Array, places: npt.NDArray[np.int32]) -> Array:
    """Means of `values` at `places`, spread as wide as their t interval (Hesterberg, arXiv 1411.5279).

    One value knows no spread.
    """
    return spread(values[places].mean(axis=1), values.mean(), len(values))


def spread(drawn: Array, mean: float, n: int) -> Array:
    """Means of resamples of `n` around `mean`, as wide as its t interval."""
    wider = sqrt(n / (n - 1)) * t_quantile(n) / Z if n > 1 else 1.0
    return np.asarray(mean + wider * (drawn - mean))


def stayed(drawn: Array, record: Record, name: str, *, alone: bool = False) -> Array:
    """Draws of a mean log-ratio over blocks, of models in turn as wide as their stays' interval (rule 3).

    Where stays are too few to tell what each loading shifts, it is what blocks know. `alone`: draws are of
    the candidate's own mean.
    """
    if record.design != "sequential":
        return drawn
    own_stays = stays(valid_blocks(record.windows))[1]
    error = shift_of(record.windows, name, ([], own_stays) if alone else None)
    own = float(drawn.std())
    wide = error.size * t_quantile(error.freedom + 1) / Z if error else 0.0
    if not 0 < own < wide < inf:
        return drawn
    return np.asarray(drawn.mean() + wide / own * (drawn - drawn.mean()))


def per_solved(record: Record, draws: int = DRAWS) -> Redrawn:
    """Change of quality of all accuracy items, and the ratio of joules per solved problem, of graded answers.

    Quality is drawn with the joules, in groups of questions, so far as it is that of the same answers.
    """
    redraw, rng = redrawn(regrouped(record), draws), np.random.default_rng([SEED, draws])
    graded = {task.task: len(task.items) for task in record.solved if task.items}
    if not graded.keys() <= {score.task for score in record.quality if score.is_accuracy}:
        return redraw._replace(change=_change(record, answers(record), rng, draws))
    whole = answers(record)
    if _keeps(record, whole.candidate - whole.baseline):
        return redraw._replace(change=np.zeros(draws))
    rest, n = answers(record, without=graded), sum(graded.values())
    change = n * redraw.change
    if len(rest.candidate):
        change = change + len(rest.candidate) * _change(record, rest, rng, draws)
    return redraw._replace(change=change / (n + len(rest.candidate)))


def _change(
    record: Record, found: Answers, rng: np.random.Generator, draws: int
) -> npt.NDArray[np.float64]:
    return changes(record, found, rng, draws).astype(np.float64)
