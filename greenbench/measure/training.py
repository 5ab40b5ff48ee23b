"""Trainings of both recipes, each stretch between two evaluations metered; evaluations are outside.

No code here knows a framework: what trains is a `Trainee`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from statistics import median
from typing import NamedTuple, Protocol

from greenbench.engines.engine import Completion, Observed
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import seconds_of
from greenbench.measure.schedule import Progress
from greenbench.schema.training.spec import TrainingSpec
from greenbench.schema.window import WHO, Phase, Place, Who, Window

TUNING = -1
"""The seed of the trainings that find the learning rate: none of those that are measured."""


class Trainee(Protocol):
    """A model in training."""

    tokens: int
    """Of text that it has read."""

    def step(self) -> Completion:
        """One step of the optimizer; its tokens are those that it read."""

    def loss(self) -> float | None:
        """On held-out text; null where it is no finite number."""


class Start(Protocol):
    """Loads the checkpoint, and makes it ready to train."""

    def __call__(
        self, who: Who, seed: int, rate: float
    ) -> AbstractContextManager[tuple[Trainee, Observed]]:
        """It, in training as `who`'s recipe says at the learning rate `rate`, and what it runs on."""


class Tried(NamedTuple):
    """One learning rate, and the loss after its training."""

    who: Who
    rate: float
    loss: float | None


class Trained(NamedTuple):
    """One training: its losses, the first before any step."""

    who: Who
    seed: int
    losses: list[float | None]


def tune(
    recorder: Recorder,
    start: Start,
    spec: TrainingSpec,
    factors: dict[Who, float],
    progress: Progress,
) -> list[Tried]:
    """Train briefly at each learning rate of both recipes; `factors` are the recipes' own."""
    tried: list[Tried] = []
    total = len(WHO) * len(spec.learning_rates)
    for who in WHO:
        for rate in spec.learning_rates:
            progress("tune", len(tried), total)
            with start(who, TUNING, rate * factors[who]) as (trainee, observed):
                _stretch(recorder, "tune", who, trainee, observed, spec.tuning_tokens, None)
                tried.append(Tried(who, rate * factors[who], trainee.loss()))
    return tried


def expected_s(windows: Sequence[Window], spec: TrainingSpec) -> float:
    """Seconds that the quickest stretch will last, by the median step of the windows that tuned."""
    tuned = [window for window in windows if window.phase == "tune"]
    steps = [(median(window.iteration_s), window.tokens / window.iterations) for window in tuned]
    each = spec.tokens / spec.evaluations
    return min(seconds * max(1.0, each / tokens) for seconds, tokens in steps)


def train(
    recorder: Recorder,
    start: Start,
    spec: TrainingSpec,
    rates: dict[Who, float],
    seed: int,
    progress: Progress,
) -> list[Trained]:
    """Train both recipes with each seed, in random order; `seed` is the run's."""
    done: list[Trained] = []
    for number, order in enumerate(orders(spec.seeds, seed)):
        for position, who in enumerate(order):
            progress("train", len(done), len(WHO) * spec.seeds)
            place = Place(series="seed", unit=number, position=position)
            with start(who, number, rates[who]) as (trainee, observed):
                losses = [trainee.loss()]
                for least in milestones(spec, who):
                    _stretch(recorder, "train", who, trainee, observed, least, place)
                    losses.append(trainee.loss())
            done.append(Trained(who, number, losses))
    return done


def orders(seeds: int, seed: int) -> list[list[Who]]:
    """Which recipe is trained first with each seed."""
    dice = random.Random(f"{seed}:training")
    return [dice.sample(WHO, len(WHO)) for _ in range(seeds)]


def milestones(spec: TrainingSpec, who: Who) -> Iterator[int]:
    """Tokens after which a model is evaluated: the candidate as often on as many, and it goes on."""
    share = spec.tokens / spec.evaluations
    longer = spec.longer if who == "candidate" else 1.0
    stretches = round(longer * spec.evaluations)
    return (round((number + 1) * share) for number in range(stretches))


def _stretch(
    recorder: Recorder,
    phase: Phase,
    who: Who,
    trainee: Trainee,
    observed: Observed,
    least: int,
    place: Place | None,
) -> None:
    """Steps, until the model has read `least` tokens, as one window; one step more than none."""
    steps: list[Completion] = []
    with recorder.whole(phase, who, observed):
        while not steps or trainee.tokens < least:
            steps.append(trainee.step())
    recorder.tell(
        [],
        place=place,
        iterations=len(steps),
        tokens=sum(step.tokens for step in steps),
        iteration_s=[round(seconds_of([step]), 6) for step in steps],
    )
