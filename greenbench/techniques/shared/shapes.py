"""Sizes of a model that follow from its configuration alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from greenbench.models.parts import decoder_blocks
from greenbench.schema.technique import Promise


class Heads(NamedTuple):
    """Attention heads: in each of `groups`, `queries` query heads share one key-value head."""

    groups: int
    queries: int
    size: int


def heads(text: Any) -> Heads:
    """The attention heads of a text configuration."""
    count: int = text.num_attention_heads
    groups = getattr(text, "num_key_value_heads", None) or count
    size = getattr(text, "head_dim", None) or text.hidden_size // count
    return Heads(groups, count // groups, size)


def smaller(model: Any, config: Any, note: str) -> Promise:
    """What a model of the smaller `config` saves on `model`; no weights are made."""
    with torch.device("meta"):
        small = type(model)(config)
    blocks, small_blocks = decoder_blocks(model), decoder_blocks(small)
    return Promise(
        bytes_ratio=_count(small) / _count(model),
        layers_ratio=len(small_blocks) / len(blocks),
        flops_ratio=_count(small_blocks) / _count(blocks),
        note=note,
    )


def _count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
