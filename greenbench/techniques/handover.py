"""The fifth kind of technique: a small model answers first, and the plain one stands behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

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
