"""Quality of a run in one number: the mean over its accuracy tasks, paired with the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy import stats

from greenbench.records import Quantity, TaskScore, missing
from greenbench.stats import CONFIDENCE, Interval

NO_ACCURACY = "no accuracy task was scored"


def is_accuracy(score: TaskScore) -> bool:
    """Whether the task's items are answers, each right (1), wrong (0) or partly right."""
    answers = (value for item in score.items for value in (item.baseline, item.candidate))
    plain = all(item.weight == 1 for item in score.items)
    return score.higher_is_better and bool(score.items) and plain and all(0 <= a <= 1 for a in answers)


def accuracy(scores: Sequence[TaskScore]) -> Quantity:
    """The candidate's mean accuracy over the accuracy tasks, in %, each task with equal weight."""
    samples = [[item.candidate for item in score.items] for score in scores if is_accuracy(score)]
    return _percent(samples, "%")


def baseline_accuracy(scores: Sequence[TaskScore]) -> Quantity:
    """The baseline's mean accuracy over the accuracy tasks, in %, each task with equal weight."""
    samples = [[item.baseline for item in score.items] for score in scores if is_accuracy(score)]
    return _percent(samples, "%")


def accuracy_change(scores: Sequence[TaskScore]) -> Quantity:
    """Candidate minus baseline in points of mean accuracy, paired by item.

    Where no item's answer changed there is no spread, so no interval, and the reason says so.
    """
    samples = [
        [item.candidate - item.baseline for item in score.items] for score in scores if is_accuracy(score)
    ]
    change = _percent(samples, "points")
    if samples and not any(difference for sample in samples for difference in sample):
        reason = f"no answer of {change.n} changed, so there is no spread to take an interval from"
        return change.model_copy(update={"low": None, "high": None, "reason": reason})
    return change


def changed_items(score: TaskScore) -> int:
    """How many items the candidate answers otherwise than the baseline."""
    return sum(item.baseline != item.candidate for item in score.items)


def bits_per_byte(scores: Sequence[TaskScore]) -> TaskScore | None:
    """The score in bits per byte, if one was taken."""
    return next((score for score in scores if score.metric == "bits_per_byte"), None)


def _percent(samples: Sequence[Sequence[float]], unit: str) -> Quantity:
    if not samples:
        return missing(unit, NO_ACCURACY)
    mean = stratified_mean(samples)
    low, high = (None if bound is None else 100 * bound for bound in (mean.low, mean.high))
    return Quantity(
        value=100 * mean.value,
        unit=unit,
        provenance="measured:score",
        n=mean.n,
        low=low,
        high=high,
        reason=mean.reason,
    )


def stratified_mean(samples: Sequence[Sequence[float]]) -> Interval:
    """Mean of the samples' means with its t interval; the strata (tasks) are fixed, their items drawn.

    Cochran, Sampling Techniques (1977), sections 5.3 and 5.4; degrees of freedom after Satterthwaite.
    """
    data = [np.asarray(sample, dtype=float) for sample in samples]
    mean, n = float(np.mean([part.mean() for part in data])), sum(part.size for part in data)
    if any(part.size < 2 for part in data):
        return Interval(mean, None, None, n, "a task with one item has no interval")
    parts = [float(part.var(ddof=1)) / part.size / len(data) ** 2 for part in data]
    if not sum(parts):
        return Interval(mean, mean, mean, n)
    spread = sum(v**2 / (part.size - 1) for v, part in zip(parts, data, strict=True))
    freedom = sum(parts) ** 2 / spread
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(sum(parts))
    return Interval(mean, mean - half, mean + half, n)
