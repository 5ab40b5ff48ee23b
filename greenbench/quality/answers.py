"""One model's answers to the items of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from greenbench.engines.query import Nearness, Seen

if TYPE_CHECKING:
    pass


class Choice(NamedTuple):
    """What a model makes of one choice of a question."""

    log_likelihood: float
    """In nats."""
    length: float
    """What the task's main metric divides it by: characters for acc_norm, else 1."""

    @property
    def score(self) -> float:
        """The model answers with the choice where this is highest."""
        return self.log_likelihood / self.length


@dataclass(frozen=True)
class TaskAnswers:
    """One model's main metric on each item of one task; the score is sum(values)/sum(weights)."""

    task: str
    metric: str
    higher_is_better: bool
    split: str
    indices: tuple[int, ...]
    """Places of the items in `split`."""
    values: tuple[float, ...]
    """1 for right and 0 for wrong; for bits per byte the bits."""
    weights: tuple[float, ...]
    """1; for bits per byte the UTF-8 bytes."""
    documents: tuple[str, ...]
    """What each item is about, hashed: items may share a passage."""
    choices: tuple[tuple[Choice, ...], ...]
    """Of each item, in the task's order; empty where there are none."""
    filter: str | None = None
    """Which took the answer out of a text; null: there was no text."""


class Answers(NamedTuple):
    """One model's answers to all tasks."""

    tasks: list[TaskAnswers]
    seen: Seen | None
    """What the model predicts on whole texts, unless that was compared."""
    nearness: list[Nearness]
    """How near that is to the reference."""
    unscored: Mapping[str, str] = {}
    """Why a task has no answers, by its name: the engine cannot score it."""
