"""The sixth kind of technique: how a model is trained, in a run that trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from greenbench.errors import UserError
from greenbench.schema.spec import RunSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Technique

Choice = Literal[
    "the optimizer", "the precision", "which weights are trained", "what activations are kept",
    "how texts are put together", "the batch", "how the model is run",
]  # fmt: skip
"""A part of a recipe, of which a stack chooses each once."""


@dataclass(frozen=True)
class Plan:
    """A whole recipe: at first that of the baseline, which full fine-tuning with AdamW is."""

    batch_size: int
    """Texts of a batch."""
    precision: Literal["float32", "mixed_bfloat16", "bfloat16"]
    """Of the matrix products; of ``bfloat16`` the weights and the optimizer's state too."""
    accumulation: int = 1
    """Batches that a step sums over."""
    packed: bool = False
    """Texts fill the sequences one after another, without padding."""
    checkpointing: bool = False
    """Activations are computed twice instead of kept."""
    compiled: bool = False
    rate: float = 1.0
    """Learning rates are tried times this."""
    adapt: Callable[[Any], Any] | None = None
    """Takes the loaded model and gives the one that is trained; null: it itself, all of it."""
    optimizer: Callable[[Any, float], Any] | None = None
    """Takes the model and the learning rate; null: AdamW."""

    @property
    def optimizer_name(self) -> str:
        """The recipe that chose it, or the class."""
        recipe = getattr(self.optimizer, "__self__", None)
        return str(getattr(recipe, "name", "adamw"))


class Recipe(Technique, ABC):
    """Says one part of how the candidate is trained: it shows in joules to a loss."""

    chooses: ClassVar[Choice]

    @abstractmethod
    def promise(self) -> Promise:
        """What it will save."""

    @abstractmethod
    def onto(self, plan: Plan) -> Plan:
        """`plan` with its own part."""


def require_one_choice(stack: Sequence[Technique]) -> None:
    """Raise UserError where two recipes of a stack choose the same."""
    seen: dict[str, str] = {}
    for technique in stack:
        if not isinstance(technique, Recipe):
            continue
        if technique.chooses in seen:
            raise UserError(
                f"technique={technique.name} cannot be stacked with {seen[technique.chooses]}, as both "
                f"choose {technique.chooses}: choose one."
            )
        seen[technique.chooses] = technique.name


def require_purpose(stack: Sequence[Technique], spec: RunSpec) -> None:
    """Raise UserError where a recipe is to serve, or another technique to train."""
    for technique in stack:
        if isinstance(technique, Recipe) and not spec.trains:
            raise UserError(
                f"technique={technique.name} says how a model is trained, and workload={spec.workload.name} "
                "serves: say workload=finetune."
            )
        if spec.trains and not isinstance(technique, Recipe):
            raise UserError(
                f"technique={technique.name} is of a model that serves, and workload={spec.workload.name} "
                "trains one: leave it out, or say another workload."
            )
