"""What early exits saved while the model decoded: depths, and multiplications really skipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import DynamicCache

from greenbench.models.parts import (
    Run,
    decoder_blocks,
    output_head,
    returns_tuple,
    rewire,
    weight_count,
)
from greenbench.techniques.early_exit.cache import fill


class Costs(NamedTuple):
    """Multiplications with weights for one token."""

    block: int
    fill: int
    """The part of a block that gives keys and values."""
    head: int


@dataclass
class Tally:
    """Counts steps of decoding into `observed`, which the record keeps."""

    observed: dict[str, Any]
    costs: Costs
    depth: int
    exits: dict[int, int] = field(default_factory=dict)
    """Tokens by the blocks they took."""
    blocks: int = 0
    """Blocks run, times tokens."""
    fills: int = 0
    """Tokens, times blocks, that got keys and values only."""
    heads: int = 0
    """Tokens, times output heads run for them: one is the least."""

    def left(self, depth: int, tokens: int) -> None:
        """`tokens` took `depth` blocks."""
        if tokens:
            self.exits[depth] = self.exits.get(depth, 0) + tokens

    def publish(self) -> None:
        """Bring the record up to date."""
        tokens = sum(self.exits.values())
        whole = tokens * self.depth * self.costs.block
        extra = (self.heads - tokens) * self.costs.head
        done = self.blocks * self.costs.block + self.fills * self.costs.fill + extra
        self.observed.update(
            tokens=tokens,
            tokens_by_depth={str(depth): count for depth, count in sorted(self.exits.items())},
            mean_depth=sum(depth * count for depth, count in self.exits.items()) / tokens,
            blocks_run=self.blocks,
            key_value_fills=self.fills,
            extra_heads=self.heads - tokens,
            flops_skipped=2 * (whole - done),
            flops_ratio=done / whole,
        )


@torch.no_grad()
def costs(model: Any) -> Costs:
    """Count them on one token; layers that hold weights are known by their in_features."""
    block, seen = decoder_blocks(model)[-1], []
    tupled = returns_tuple(model)  # which runs it

    def only_fill(run: Run, hidden: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        fill(run, hidden, kwargs)
        return hidden

    handles = [
        layer.register_forward_hook(lambda layer, *_: seen.append(_weights(layer)))
        for layer in block.modules()
        if _weights(layer)
    ]
    undo = rewire(block, only_fill, tupled=tupled)
    try:
        model(
            torch.zeros((1, 1), dtype=torch.long, device=model.device),
            past_key_values=DynamicCache(),
        )
    finally:
        undo()
        for handle in handles:
            handle.remove()
    return Costs(block=weight_count(block), fill=sum(seen), head=weight_count(output_head(model)))


def _weights(layer: nn.Module) -> int:
    """Of a module that multiplies by its own."""
    return 0 if list(layer.children()) else weight_count(layer)
