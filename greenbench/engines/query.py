"""What scoring asks of a model, whichever engine runs it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Query(NamedTuple):
    """What is asked of the model: the log-probabilities of `targets` after the tokens' last ones."""

    tokens: tuple[int, ...]
    """Input tokens: context and continuation without the last token."""
    targets: tuple[int, ...]
    """Target k follows token -len(targets) + k of the input."""


Answer = tuple[float, bool]
"""Log-likelihood in nats, and whether greedy decoding gives the continuation."""

Place = tuple[str, int, int, int]
"""A text (its task, and its number among those asked), the window of it, the position in the window."""


class Seen(NamedTuple):
    """What a model says at P places of texts."""

    places: list[Place]
    logits: Any
    """Tensor (P, vocabulary) in the model's dtype, on the CPU."""


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


class Said(NamedTuple):
    """What a model says of a few known texts."""

    nats: tuple[float, ...]
    """Log-likelihood of each by token; empty where it tells none."""
    texts: tuple[str, ...]
    """How it goes on after some, greedily; empty where that was not asked."""


def confidence(nats: Sequence[float]) -> float | None:
    """Geometric mean of the probabilities, given their logarithms, that a model gave its own tokens.

    Null where there is none. Longer answers are not less sure for it (Gupta et al., 2024, arXiv 2404.10136).
    """
    return math.exp(sum(nats) / len(nats)) if nats else None
