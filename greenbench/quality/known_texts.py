"""A few known texts: what a model says of them shows whether an engine computes with the right weights."""

from __future__ import annotations

from math import isnan
from typing import Any, NamedTuple

from greenbench.engines.engine import Served
from greenbench.engines.query import Said
from greenbench.engines.writing import Ask
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
GOES_ON = 4
"""Tokens by which a context is gone on with, on its line."""


class _Asked(NamedTuple):
    """A request as lm-eval makes it, as far as models read it."""

    args: tuple[Any, ...]
    task_name: str = "known"
    doc_id: int = 0


def said(served: Served, *, greedily: bool) -> Said:
    """What it says of them; how it goes on after their contexts too, where that is asked."""
    with quiet():
        model = served.language_model(lambda: None, None)
        nats = () if getattr(model, "cannot", {}) else _nats(served, model)
    return Said(nats, _texts(served) if greedily else ())


def _texts(served: Served) -> tuple[str, ...]:
    prompts = (tuple(served.tokenizer.prompt(context)) for context, _ in TEXTS if context)
    asks = (Ask(prompt, GOES_ON, until=("\n",)) for prompt in prompts)
    return tuple(served.write([each])[0].text for each in asks)


def _nats(served: Served, model: Any) -> tuple[float, ...]:
    found = model.loglikelihood([_Asked(text) for text in TEXTS])
    lengths = (len(served.tokenizer.encode(after)) for _, after in TEXTS)
    return tuple(nats / length for (nats, _), length in zip(found, lengths, strict=True))


def apart(one: Said, other: Said) -> float | None:
    """Nats per token between the two on the text where they are furthest apart; null where one tells none.

    A wrong begin token shows on one of them alone. What is no number is the furthest of all.
    """
    if not one.nats or not other.nats:
        return None
    gaps = [abs(a - b) for a, b in zip(one.nats, other.nats, strict=True)]
    return max(gaps, key=lambda gap: (isnan(gap), gap))


def alike(one: Said, other: Said) -> bool:
    """Whether they go on alike after one text at least, as a model does with itself quantized."""
    pairs = zip(one.texts, other.texts, strict=True)
    return any(a.split()[:1] == b.split()[:1] != [] for a, b in pairs)
