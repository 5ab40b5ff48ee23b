"""What a record keeps of trainings: each one's curve, and how its learning rate was found."""

from __future__ import annotations

from typing import Literal

from greenbench.schema.quantity import Part, Quantity
from greenbench.schema.window import Who


class Point(Part):
    """One evaluation of a training."""

    tokens: int
    """Of text that the model had been trained on by then, padding excluded."""
    seconds: float
    """That its training had taken by then, evaluations excluded."""
    energy_j: float | None
    """Joules of it, likewise; null where no meter answered."""
    loss: float | None
    """On the held-out passages; null where it was no finite number."""


class Course(Part):
    """One training, from the checkpoint to its end."""

    who: Who
    """Whose recipe."""
    seed: int
    """Number of its data order, the same for both recipes."""
    points: list[Point]
    """The first before any training."""
    target_loss: float | None
    """The baseline's last loss with this seed; null where it was no finite number."""
    to_target_j: float | None
    """Joules until the loss first was as low, in a straight line between two evaluations; null: it
    never was, or no meter answered."""
    reached: bool
    """Whether it ever was."""


class Trial(Part):
    """One learning rate that was tried."""

    who: Who
    """Whose recipe."""
    learning_rate: float
    """At its peak."""
    loss: float | None
    """After its training, on held-out passages of its own; null where it was no finite number."""
    energy_j: float | None
    """Joules of that training; null where no meter answered."""


class Facts(Part):
    """What a recipe comes to, on this model and device."""

    optimizer: str
    """What steps: ``adamw``, or the technique that chose another."""
    precision: Literal["float32", "mixed_bfloat16", "bfloat16"]
    """Of the matrix products; of ``bfloat16`` the weights and the optimizer's state too."""
    batch_size: int
    """Texts of a step."""
    accumulation: int
    """Batches that a step sums over."""
    trained: int
    """Parameters that are trained."""
    learning_rate: float
    """The one of the trials with the least loss."""


class Training(Part):
    """Trainings of both recipes from the same checkpoint, in the same data order."""

    facts: dict[Who, Facts]
    """Of each recipe."""
    trials: list[Trial]
    courses: list[Course]
    seeds: int
    """Without a disturbed window: those that the numbers are of."""
    reached: dict[Who, int]
    """In how many of these each recipe came to the baseline's last loss."""
    tuning: dict[Who, Quantity]
    """Joules of all trials of each recipe."""
