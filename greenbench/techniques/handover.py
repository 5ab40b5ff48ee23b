"""The fifth kind of technique: a small model answers first, and the plain one stands behind it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from greenbench.errors import UserError
from greenbench.schema.spec import ModelSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Technique


class Trust(NamedTuple):
    """When the small model's answer is kept."""

    threshold: float | None
    """Of its confidence, 0 to 1; null: the boldest that held-back items allow."""
    risk: float
    """Then, the share of answers that may be worse than the large model's ..."""
    delta: float
    """... but with this probability."""
    items: int
    """Held-back items of each task that say so."""

    def require(self, items: int) -> None:
        """Raise UserError where no answers to so few `items` could show the risk."""
        least = math.ceil(math.log(self.delta) / math.log(1 - self.risk))
        if items < least:
            raise UserError(
                f"technique.cascade.risk={self.risk:g} needs {least} held-back items or more, and there "
                f"are {items}: say fewer task.items, a greater technique.cascade.items, or a threshold."
            )


class Handover(Technique, ABC):
    """Hands over to the run's plain model what a small one is not sure of; it ends a stack.

    The small model is what the stack before it leaves, or one of its own.
    """

    @abstractmethod
    def promise(self) -> Promise:
        """What it will save."""

    @abstractmethod
    def small(self) -> ModelSpec | None:
        """The small model; null: what the stack leaves."""

    @abstractmethod
    def trust(self) -> Trust:
        """When its answer is kept."""
