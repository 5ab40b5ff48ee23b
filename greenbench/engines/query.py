"""What scoring asks of a model, whichever engine runs it."""

from __future__ import annotations

from typing import NamedTuple


class Query(NamedTuple):
    """What is asked of the model: the log-probabilities of `targets` after the tokens' last ones."""

    tokens: tuple[int, ...]
    """Input tokens: context and continuation without the last token."""
    targets: tuple[int, ...]
    """Target k follows token -len(targets) + k of the input."""


Answer = tuple[float, bool]
"""Log-likelihood in nats, and whether greedy decoding gives the continuation."""
