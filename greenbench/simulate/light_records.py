"""Records with no more than windows and answers: what frontiers are drawn from, without a recorder's time."""

from __future__ import annotations

from typing import Any

from greenbench.schema.record import Record
from greenbench.schema.technique import AppliedTechnique
from greenbench.schema.window import WHO, Place, Span, Who, Window
from greenbench.simulate.block_values import Values
from greenbench.simulate.exam import Answers, score

WINDOW_S, TOKENS = 10.0, 1000


def record(values: Values, answers: Answers, *, lossless: bool = False) -> Record:
    """Of a run whose blocks and answers are these; it lacks all that frontiers do not read."""
    taken = [
        _window(who, block, joules)
        for who, side in zip(WHO, values[:2], strict=True)
        for block, joules in enumerate(side)
    ]
    told: dict[str, Any] = {"lossless": lossless}
    applied = AppliedTechnique.model_construct(**told)
    fields: dict[str, Any] = {
        "windows": taken, "quality": [score(answers)], "solved": [], "techniques": [applied],
        "design": "interleaved",
    }  # fmt: skip
    return Record.model_construct(**fields)


def _window(who: Who, block: int, joules: float) -> Window:
    span = Span.model_construct(
        meter="simulated", boundary="gpu", provenance="measured:plugin", tick_s=0.1, start_s=0.0,
        start_j=0.0, end_s=WINDOW_S, end_j=TOKENS * joules, low_j=None, high_j=None,
    )  # fmt: skip
    return Window.model_construct(
        phase="generate", who=who, place=Place(series="block", unit=block, position=0), start_s=0.0,
        end_s=WINDOW_S, iterations=10, tokens=TOKENS, prompt_tokens=640, energy=[span],
        iteration_s=[WINDOW_S / 10] * 10, validity="valid", codes=[], traffic=None,
    )  # fmt: skip
