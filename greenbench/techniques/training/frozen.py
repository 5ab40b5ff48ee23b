"""Blocks that are not trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from greenbench.models.parts import decoder_blocks
from greenbench.schema.ranges import require
from greenbench.schema.technique import Promise
from greenbench.techniques.recipe import Choice, Plan, Recipe


@dataclass(frozen=True)
class FreezeBlocks(Recipe):
    """The first blocks and the embeddings stay as they are: no gradient is computed for them."""

    name: ClassVar[str] = "freeze_blocks"
    summary: ClassVar[str] = "the first blocks are not trained"
    paper: ClassVar[str | None] = None
    chooses: ClassVar[Choice] = "which weights are trained"

    fraction: float = 0.5
    """Of the blocks, from the first on."""

    def __post_init__(self) -> None:
        require(
            0 < self.fraction < 1,
            "technique.freeze_blocks.fraction",
            self.fraction,
            "above 0, below 1",
        )

    def promise(self) -> Promise:
        """The backward pass ends at the last frozen block."""
        return Promise(note=f"{self.fraction:.0%} of the blocks' backward pass and optimizer state")

    def onto(self, plan: Plan) -> Plan:
        """The later blocks alone."""
        return replace(plan, adapt=self.frozen)

    def frozen(self, model: Any) -> Any:
        """`model`, in place. A head that shares its weights with the embeddings is frozen with them."""
        blocks = decoder_blocks(model)
        first = blocks[: max(1, round(self.fraction * len(blocks)))]
        for part in (model.get_input_embeddings(), *first):
            part.requires_grad_(False)
        if hasattr(model, "disable_input_require_grads"):
            model.disable_input_require_grads()  # which checkpointing asks for
        return model
