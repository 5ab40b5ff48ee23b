"""Questions that all runs of a lab are asked, with answers whose true quality is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from greenbench.analysis.accuracy import compared
from greenbench.schema.quality import Item, TaskScore

Floats = npt.NDArray[np.float64]


class Exam(NamedTuple):
    """Items, some about the same document."""

    items: int = 100
    per_document: int = 1
    together: float = 0.0
    """Chance that an item goes as its document does."""
    right: float = 0.6
    """True share that the baseline answers right."""


class Flips(NamedTuple):
    """What a technique does to the answers."""

    lost: float = 0.0
    """True share of the right answers that become wrong."""
    gained: float = 0.0
    """True share of the wrong answers that become right."""

    def right(self, exam: Exam) -> float:
        """True share that the candidate answers right."""
        return exam.right * (1 - self.lost) + (1 - exam.right) * self.gained


class Answers(NamedTuple):
    """Of both models, whether each item is right (1.0) or not."""

    baseline: Floats
    candidate: Floats
    documents: list[str]


def of_baseline(exam: Exam, dice: np.random.Generator) -> Floats:
    """The baseline's answers, which all runs share."""
    return np.asarray(_uniform(exam, dice) < exam.right, dtype=float)


def answered(exam: Exam, baseline: Floats, flips: Flips, dice: np.random.Generator) -> Answers:
    """A run's."""
    chance = np.where(baseline == 1, flips.lost, flips.gained)
    flipped = _uniform(exam, dice) < chance
    candidate = np.where(flipped, 1 - baseline, baseline)
    documents = [f"passage {place // exam.per_document}" for place in range(exam.items)]
    return Answers(baseline, candidate, documents)


def score(answers: Answers) -> TaskScore:
    """As a record keeps it."""
    shared = len(set(answers.documents)) < len(answers.documents)
    items = [
        Item(index=index, baseline=before, candidate=after, document=document if shared else None)
        for index, (before, after, document) in enumerate(
            zip(
                answers.baseline.tolist(),
                answers.candidate.tolist(),
                answers.documents,
                strict=True,
            )
        )
    ]
    return TaskScore(
        task="simulated", metric="acc", higher_is_better=True, split="test", items=items,
        **compared("acc", items),
    )  # fmt: skip


def _uniform(exam: Exam, dice: np.random.Generator) -> Floats:
    """Of each item, uniform; as its document's, with the chance of `together`."""
    places = np.arange(exam.items) // exam.per_document
    shared = dice.random(places[-1] + 1)[places]
    return np.where(dice.random(exam.items) < exam.together, shared, dice.random(exam.items))
