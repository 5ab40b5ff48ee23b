"""Quality of a run in one number: the share of items answered right, paired with the baseline's."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.quality import paired
from greenbench.quantities import Quantity, missing
from greenbench.records import Item, TaskScore
from greenbench.stats import Interval

NO_ACCURACY = "no accuracy task was scored"


def is_accuracy(score: TaskScore) -> bool:
    """Whether the task's items are answers, each right (1), wrong (0) or partly right."""
    answers = all(
        item.weight == 1 and 0 <= item.baseline <= 1 and 0 <= item.candidate <= 1
        for item in score.items
    )
    return score.higher_is_better and bool(score.items) and answers


def accuracy(scores: Sequence[TaskScore]) -> Quantity:
    """The candidate's accuracy in %, pooled over the items of all accuracy tasks.

    Where every task has as many items, this is the mean over the tasks.
    """
    return _percent([item.candidate for item in _answers(scores)], "%")


def baseline_accuracy(scores: Sequence[TaskScore]) -> Quantity:
    """The baseline's accuracy in %, pooled over the items of all accuracy tasks."""
    return _percent([item.baseline for item in _answers(scores)], "%")


def accuracy_change(scores: Sequence[TaskScore]) -> Quantity:
    """Candidate minus baseline in points of accuracy, paired by item and pooled over all tasks."""
    items = _answers(scores)
    if not items:
        return missing("points", NO_ACCURACY)
    before, after = [item.baseline for item in items], [item.candidate for item in items]
    return _hundredfold(paired.change(before, after, [1.0] * len(items)), "points")


def changed_items(score: TaskScore) -> int:
    """How many items the candidate answers otherwise than the baseline."""
    return sum(item.baseline != item.candidate for item in score.items)


def bits_per_byte(scores: Sequence[TaskScore]) -> TaskScore | None:
    """The score in bits per byte, if one was taken."""
    return next((score for score in scores if score.metric == "bits_per_byte"), None)


def _answers(scores: Sequence[TaskScore]) -> list[Item]:
    return [item for score in scores if is_accuracy(score) for item in score.items]


def _percent(answers: Sequence[float], unit: str) -> Quantity:
    if not answers:
        return missing(unit, NO_ACCURACY)
    return _hundredfold(paired.level(answers, [1.0] * len(answers)), unit)


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
