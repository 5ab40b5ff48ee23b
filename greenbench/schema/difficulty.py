"""What a record keeps of energy by difficulty: whether easy questions cost a technique less."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from greenbench.schema.quantity import Part, Quantity
from greenbench.schema.verdict import Verdict

Bin = Literal["easy", "medium", "hard"]
"""Which third of the questions."""


class Questions(Part):
    """One third of the items that have choices, and what it took to answer them."""

    bin: Bin
    items: int
    """How many items it has."""
    asked: int
    """How many of them were answered in the windows."""
    margins: list[Quantity]
    """Mean of the baseline's margins (`Item.margin`), one for each unit that they come in."""
    prompt_tokens: float
    """Mean over the items. Reading them is part of an answer: long ones hide what a technique saves."""
    baseline: dict[str, Quantity]
    """By name: accuracy, energy_per_answer_j, energy_per_token_j, seconds_per_answer."""
    candidate: dict[str, Quantity]
    """Likewise."""
    ratios: dict[str, Quantity]
    """Candidate over baseline, paired by round: energy_per_answer, seconds_per_answer."""
    mean_depth: Quantity
    """Blocks that a token of an answer took, over questions, without each answer's first token: that
    comes with the prompt."""
    accepted_per_pass: Quantity
    """Drafts kept in each pass that checks some or could have."""
    observed: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Counts that each technique whose work depends on the input added over all windows."""


class Difficulty(Part):
    """Answers to the tasks' own questions, apart by how sure the baseline is of them."""

    reason: str | None = None
    """Why there is nothing below."""
    new_tokens: int
    """Of each answer, always so many."""
    rounds: int = 0
    """Valid ones; each measures every third with both models once, in random order."""
    of_rounds: int = 0
    """Measured in all."""
    codes: list[str] = Field(default_factory=list)
    """What disturbed any of the windows. These are no codes of the run."""
    bins: list[Questions] = Field(default_factory=list)
    """Easy, medium and hard."""
    easy_over_hard: dict[str, Quantity] = Field(default_factory=dict)
    """By the ratio's name: its value on easy questions over that on hard ones, paired by round."""
    verdicts: dict[str, Verdict] = Field(default_factory=dict)
    """Whether easy questions save (or cost) against hard ones, by the ratio's name."""
