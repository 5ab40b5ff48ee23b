"""How a student is trained: the knobs, what they allow, and when the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from greenbench.errors import UserError
from greenbench.schema.ranges import require, require_choice

WARM = 0.05  # share of the budget in which the learning rate rises
MAPPINGS = ("origin", "uniform", "last")


class Cost(NamedTuple):
    """What a training has used up."""

    tokens: int
    seconds: float
    energy_j: float | None
    """Null where no meter answers."""


@dataclass(frozen=True)
class Training:
    """How a teacher trains a student on text (knowledge distillation, arXiv 1503.02531).

    It ends with the first budget that is spent. As it stands here it has none, which is no training.
    """

    minutes: float | None = None
    tokens: int | None = None
    """Tokens of text; the result then depends on nothing but the seed."""
    joules: float | None = None
    """Joules of the run's first meter."""
    learning_rate: float = 3e-4
    """Its peak, after a linear rise and before a cosine's fall to 0 over the budget."""
    batch_size: int = 4
    accumulation: int = 1
    """Batches that one step of the optimizer sums over."""
    sequence: int = 128
    """Tokens of each text in a batch."""
    temperature: float = 1.0
    """Softens both distributions of the Kullback-Leibler term."""
    cross_entropy: float = 0.0
    """Weight of the text's own next token as a target."""
    hidden: float = 0.0
    """Weight of the distance between hidden states."""
    mapping: str = "origin"
    """Which of the teacher's blocks each of the student's is compared with: the one it came from,
    evenly spread ones (TinyBERT, arXiv 1909.10351), or only the last with the last (MiniLM, arXiv
    2002.10957)."""
    embeddings: bool = True
    """Train the embedding and the output head too: a large part of a small model, and of the work."""
    precision: str = "auto"
    """Of the matrix products: float32, bfloat16, or bfloat16 where the device has instructions for
    it and the model's code mixes the two. The trained weights are float32 in any case."""
    checkpoint_s: float = 60.0
    """Seconds between checkpoints, or more where writing them would take over 5 % of the time."""

    def check(self, key: str) -> None:
        """Raise UserError for knobs out of range; `key` is where they stand in the configuration."""
        budgets = {name: getattr(self, name) for name in ("minutes", "tokens", "joules")}
        for name, value in budgets.items():
            require(value is None or value > 0, f"{key}.{name}", value, "more than 0, or null")
        if all(value is None for value in budgets.values()):
            raise UserError(f"{key} has no budget: set its minutes, tokens or joules.")
        require(
            0 < self.learning_rate < 1,
            f"{key}.learning_rate",
            self.learning_rate,
            "above 0, below 1",
        )
        for name, least in (("batch_size", 1), ("accumulation", 1), ("sequence", 2)):
            value = getattr(self, name)
            require(value >= least, f"{key}.{name}", value, f"{least} or more")
        require(self.temperature > 0, f"{key}.temperature", self.temperature, "more than 0")
        for name in ("cross_entropy", "hidden", "checkpoint_s"):
            value = getattr(self, name)
            require(value >= 0, f"{key}.{name}", value, "0 or more")
        require_choice(self.mapping, f"{key}.mapping", MAPPINGS)
        require_choice(self.precision, f"{key}.precision", ("auto", "float32", "bfloat16"))

    def spent(self, cost: Cost) -> float:
        """Share of the budget that `cost` has used up; 1 or more: stop."""
        shares = [
            used / budget
            for used, budget in (
                (cost.tokens, self.tokens),
                (cost.seconds, self.minutes and 60 * self.minutes),
                (cost.energy_j, self.joules),
            )
            if budget is not None and used is not None
        ]
        return max(shares, default=0.0)

    def rate(self, spent: float) -> float:
        """Learning rate once the share `spent` of the budget is used up."""
        if spent < WARM:
            return self.learning_rate * max(spent / WARM, 0.02)
        return self.learning_rate * (1 + math.cos(math.pi * (spent - WARM) / (1 - WARM))) / 2

    def pairs(self, origin: Sequence[int], teacher_depth: int) -> list[tuple[int, int]]:
        """Blocks of student and teacher whose outputs are compared; the student's block i came from
        the teacher's block ``origin[i]``."""
        depth = len(origin)
        if self.mapping == "last":
            return [(depth - 1, teacher_depth - 1)]
        if self.mapping == "uniform":
            origin = uniform(depth, teacher_depth)
        return list(enumerate(origin))

    def __str__(self) -> str:
        units = {"minutes": "min", "tokens": "tokens", "joules": "J"}
        budget = [
            f"{value:g} {unit}"
            for name, unit in units.items()
            if (value := getattr(self, name)) is not None
        ]
        rest = [
            f"{knob.name}={value}"
            for knob in fields(self)
            if knob.name not in units and (value := getattr(self, knob.name)) != knob.default
        ]
        return " ".join([" or ".join(budget), *rest])


NONE = Training()
"""No budget, no training."""


def uniform(depth: int, teacher_depth: int) -> list[int]:
    """`depth` blocks spread evenly over the teacher's, the last one its last."""
    return [math.ceil((index + 1) * teacher_depth / depth) - 1 for index in range(depth)]
