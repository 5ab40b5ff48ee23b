"""What runs a model: the one thing that measuring, scoring and running know of it."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Iteration(NamedTuple):
    """One request batch: what it made and when."""

    tokens: int
    prompt_tokens: int
    seconds: float
    ttft_s: float
    gaps_s: list[float]
    """Seconds between successive tokens."""


Place = tuple[str, int, int, int]
"""A text, the window of it, and the position in the window."""


class Seen(NamedTuple):
    """What a model says at P places of texts."""

    places: list[Place]
    logits: torch.Tensor
    """(P, vocabulary) in the model's dtype, on the CPU."""


class Nearness(NamedTuple):
    """What the comparison shows on one text."""

    task: str
    item: int
    """Its place among those asked."""
    positions: int
    divergence: float
    """Sum of KL(baseline || candidate) over the positions, in nats."""
    agreements: float
    """Positions at which both hold the same token for the likeliest."""
