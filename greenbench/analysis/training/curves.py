"""What the windows and losses of trainings say: joules to the baseline's last loss, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Final, NamedTuple

from greenbench.analysis.readings import joules
from greenbench.schema.training.record import Course, Facts, Point, Training, Trial
from greenbench.schema.window import WHO, Who, Window

NOT_LEARNT: Final = (
    "with a seed the baseline's last loss is no lower than the first: there is no target"
)


class Losses(NamedTuple):
    """Of one training, the first before any step."""

    who: Who
    seed: int
    losses: Sequence[float | None]


class Tried(NamedTuple):
    """A learning rate, and the loss after its training."""

    who: Who
    learning_rate: float
    loss: float | None


class Raw(NamedTuple):
    """What a run notes of its trainings beside their windows."""

    facts: Mapping[Who, Facts]
    trials: Sequence[Tried]
    courses: Sequence[Losses]


def noted(training: Training) -> Raw:
    """What the run had noted of trainings that a record keeps."""
    return Raw(
        training.facts,
        [Tried(each.who, each.learning_rate, each.loss) for each in training.trials],
        [Losses(c.who, c.seed, [point.loss for point in c.points]) for c in training.courses],
    )


def best(trials: Sequence[Tried], who: Who) -> float:
    """The learning rate with the least loss; the first of equals, and where none is a number."""
    mine = [each for each in trials if each.who == who]
    return min(mine, key=lambda each: inf if each.loss is None else each.loss).learning_rate


def trials(windows: Sequence[Window], tried: Sequence[Tried]) -> list[Trial]:
    """Each with the joules of its window. Raises ValueError where they are not as many."""
    mine = [window for window in windows if window.phase == "tune"]
    return [
        Trial(
            who=each.who, learning_rate=each.learning_rate, loss=each.loss, energy_j=joules(window)
        )
        for each, window in zip(tried, mine, strict=True)
    ]


def courses(windows: Sequence[Window], losses: Sequence[Losses]) -> list[Course]:
    """Each training with what its windows add up to. Raises ValueError where they do not fit."""
    targets = {each.seed: each.losses[-1] for each in losses if each.who == "baseline"}
    return [_course(windows, each, targets[each.seed]) for each in losses]


def _course(windows: Sequence[Window], found: Losses, target: float | None) -> Course:
    points = list(_points(stretches(windows, found.who, found.seed), found.losses))
    place = crossing(points, target)
    return Course(
        who=found.who,
        seed=found.seed,
        points=points,
        target_loss=target,
        to_target_j=None if place is None else place.energy_j,
        reached=place is not None,
    )


def stretches(windows: Sequence[Window], who: Who, seed: int) -> list[Window]:
    """The windows of one training."""
    return [
        window
        for window in windows
        if window.phase == "train"
        and window.who == who
        and window.place is not None
        and window.place.unit == seed
    ]


def _points(mine: Sequence[Window], losses: Sequence[float | None]) -> list[Point]:
    first, *rest = losses
    found = [Point(tokens=0, seconds=0.0, energy_j=0.0 if mine[0].energy else None, loss=first)]
    for window, loss in zip(mine, rest, strict=True):
        before, counted_j = found[-1], joules(window)
        known = before.energy_j is not None and counted_j is not None
        found.append(
            Point(
                tokens=before.tokens + window.tokens,
                seconds=before.seconds + window.end_s - window.start_s,
                energy_j=(before.energy_j or 0.0) + (counted_j or 0.0) if known else None,
                loss=loss,
            )
        )
    return found


class Crossing(NamedTuple):
    """Where a curve first comes down to a loss."""

    energy_j: float | None
    """Null without a meter."""


def crossing(points: Sequence[Point], target: float | None) -> Crossing | None:
    """Where the loss first is at `target` or below, in a straight line between evaluations; null: nowhere."""
    if target is None:
        return None
    first = points[0]
    if first.loss is not None and first.loss <= target:
        return Crossing(first.energy_j)
    for before, after in pairwise(points):
        if after.loss is None or after.loss > target:
            continue
        if before.energy_j is None or after.energy_j is None:
            return Crossing(None)
        if before.loss is None:  # how it came down from there no one knows
            return Crossing(after.energy_j)
        share = (before.loss - target) / (before.loss - after.loss)
        return Crossing(before.energy_j + share * (after.energy_j - before.energy_j))
    return None


class Pair(NamedTuple):
    """Both trainings with one seed."""

    baseline: Course
    candidate: Course

    @property
    def learnt(self) -> bool:
        """Whether there is a target: the baseline's last loss is below where both began."""
        firsts = [each.points[0].loss for each in self]
        target = self.baseline.target_loss
        return target is not None and all(first is None or first > target for first in firsts)

    def of(self, who: Who) -> Course:
        """One of them."""
        return self.baseline if who == "baseline" else self.candidate


def sound(windows: Sequence[Window], found: Sequence[Course]) -> list[Pair]:
    """Pairs by seed without an invalid window: a seed counts whole or not at all."""
    by_seed = {(each.seed, each.who): each for each in found}
    seeds = sorted({each.seed for each in found} - _spoiled(windows))
    return [Pair(*(by_seed[seed, who] for who in WHO)) for seed in seeds]


def sound_stretches(windows: Sequence[Window]) -> list[Window]:
    """The windows of these."""
    spoiled = _spoiled(windows)
    mine = [window for window in windows if window.phase == "train" and window.place]
    return [window for window in mine if window.place and window.place.unit not in spoiled]


def _spoiled(windows: Sequence[Window]) -> set[int]:
    return {
        window.place.unit
        for window in windows
        if window.phase == "train" and window.place and window.validity == "invalid"
    }
