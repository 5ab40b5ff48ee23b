"""A few known texts: what a model says of them shows whether an engine computes with the right weights."""

from __future__ import annotations

from typing import NamedTuple

from greenbench.engines.engine import Served
from greenbench.quality.lm_eval_quiet import quiet

TEXTS = (
    ("", "The capital of France is Paris, and the capital of Italy is Rome."),
    (
        "Water freezes at zero degrees",
        " Celsius, and it boils at one hundred degrees at sea level.",
    ),
    ("One, two, three, four, five,", " six, seven, eight, nine, ten."),
)
"""A context, which may be none, and what follows."""


class _Asked(NamedTuple):
    """A request as lm-eval makes it, as far as models read it."""

    args: tuple[str, str]


def nats_per_token(served: Served) -> tuple[float, ...] | None:
    """Log-likelihood of each text after its context, by token; null where it tells none."""
    with quiet():
        model = served.language_model(lambda: None, None)
        if getattr(model, "cannot", {}):
            return None
        found = model.loglikelihood([_Asked(text) for text in TEXTS])
    lengths = (len(served.tokenizer.encode(after)) for _, after in TEXTS)
    return tuple(nats / length for (nats, _), length in zip(found, lengths, strict=True))


def apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Nats per token between the two, on average over the texts."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
