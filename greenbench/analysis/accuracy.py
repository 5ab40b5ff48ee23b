"""Quality of a run in one number: the share of items answered right, paired with the baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from greenbench.schema.quality import Item, TaskScore
from greenbench.schema.quantity import Quantity, missing
from greenbench.stats.intervals import Interval
from greenbench.stats.items import change, level

NO_ACCURACY = "no accuracy task was scored"
UNITS: Final[Mapping[str, str]] = {"bits_per_byte": "bit/byte"}
"""Units of main metrics other than a fraction of items."""


def accuracy(scores: Sequence[TaskScore]) -> Quantity:
    """The candidate's accuracy in %, pooled over the items of all accuracy tasks.

    Where every task has as many items, this is the mean over the tasks.
    """
    items = paired_items(scores, accuracy=True)
    return _percent(items.candidate, items.documents)


def baseline_accuracy(scores: Sequence[TaskScore]) -> Quantity:
    """The baseline's accuracy in %, pooled over the items of all accuracy tasks."""
    items = paired_items(scores, accuracy=True)
    return _percent(items.baseline, items.documents)


def accuracy_change(scores: Sequence[TaskScore]) -> Quantity:
    """Candidate minus baseline in points of accuracy, paired by item and pooled over all tasks."""
    items = paired_items(scores, accuracy=True)
    if not items.baseline:
        return missing("points", NO_ACCURACY)
    return _hundredfold(change(*items), "points")


def changed_items(score: TaskScore) -> int:
    """How many items the candidate answers otherwise than the baseline."""
    return sum(item.baseline != item.candidate for item in score.items)


class Paired(NamedTuple):
    """Both models' values on the same items, as the functions of `quality.paired` take them."""

    baseline: list[float]
    candidate: list[float]
    weights: list[float]
    documents: list[str]
    """What each is about; items of one task may share it."""


def paired_items(scores: Sequence[TaskScore], *, accuracy: bool = False) -> Paired:
    """The items of `scores`, or of those among them that have an accuracy."""
    found = [
        (item, about(score, item))
        for score in scores
        if not accuracy or score.is_accuracy
        for item in score.items
    ]
    return Paired(
        baseline=[item.baseline for item, _ in found],
        candidate=[item.candidate for item, _ in found],
        weights=[item.weight for item, _ in found],
        documents=[document for _, document in found],
    )


def about(score: TaskScore, item: Item) -> str:
    """What an item is about, told apart from what those of other tasks are."""
    return f"{score.task} {item.document or f'item {item.index}'}"


def bits_per_byte(scores: Sequence[TaskScore]) -> TaskScore | None:
    """The score in bits per byte, if one was taken."""
    return next((score for score in scores if score.metric == "bits_per_byte"), None)


def _percent(answers: Sequence[float], documents: Sequence[str]) -> Quantity:
    if not answers:
        return missing("%", NO_ACCURACY)
    return _hundredfold(level(answers, [1.0] * len(answers), documents), "%")


def _hundredfold(found: Interval, unit: str) -> Quantity:
    value, low, high, n, reason = found
    return Quantity(
        value=100 * value,
        unit=unit,
        provenance="measured:score",
        n=n,
        low=None if low is None else 100 * low,
        high=None if high is None else 100 * high,
        reason=reason,
    )


def compared(metric: str, items: Sequence[Item]) -> dict[str, Quantity]:
    """``baseline``, ``candidate`` and ``change`` of a `TaskScore`."""
    before, after = [item.baseline for item in items], [item.candidate for item in items]
    weights = [item.weight for item in items]
    documents = [item.document or str(item.index) for item in items]
    found = {
        "baseline": level(before, weights, documents),
        "candidate": level(after, weights, documents),
        "change": change(before, after, weights, documents),
    }
    unit = UNITS.get(metric, "fraction")
    return {name: scored(interval, unit) for name, interval in found.items()}


def scored(found: Interval, unit: str) -> Quantity:
    """An interval over items as a record keeps it."""
    return Quantity(unit=unit, provenance="measured:score", **found._asdict())
