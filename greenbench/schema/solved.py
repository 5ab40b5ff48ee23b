"""Questions answered in words while their joules were counted, as a record keeps them."""

from __future__ import annotations

from pydantic import Field

from greenbench.schema.quantity import Part, Quantity
from greenbench.schema.window import Who


class Reply(Part):
    """One model's answer to one item."""

    text: str
    """As it said it, its thoughts among it."""
    tokens: int
    """That it made, thoughts and what ended it among them."""
    thought_tokens: int
    """Of those, its thoughts; 0 of a model that does not think first."""
    seconds: float
    """From its sending to its end."""
    energy_j: float | None
    """Its part, by tokens, of its window's joules; null where the window has none."""
    cut: bool
    """Whether it was as long as it might be, and so had not come to its end."""
    handed_over: bool = False
    """Whether a small model was asked first and was not sure, so that this is the large one's."""
    grades: dict[str, dict[str, float]]
    """By filter, each of the task's metrics that is a number."""


class SolvedItem(Part):
    """One item, and what both models answered."""

    index: int
    """Its place in the task's split."""
    group: int
    """Items of one group share their windows."""
    document: str | None = None
    """Hash of what the item may share with others, such as a passage; null: nothing."""
    baseline: Reply
    candidate: Reply


class Solving(Part):
    """What a right answer took: joules per token times tokens per answer, over the share solved."""

    energy_per_token: Quantity
    """J/token, of all tokens that were made."""
    tokens_per_answer: Quantity
    """Tokens made, thoughts among them."""
    share_solved: Quantity
    """Mean grade of the items."""
    energy_per_solved: Quantity
    """J/item; without a value, and with the reason, where it is unbounded as none was solved."""


class Lengths(Part):
    """How long one model's answers were, in tokens."""

    right: Quantity
    """Of solved items, mean; of those that are right in part it is told in neither."""
    wrong: Quantity
    """Of items without a right part."""
    cut: int
    """Answers that were as long as they might be: their number."""
    thought: Quantity
    """Of all tokens, those of thoughts, as a share."""
    thought_energy: Quantity
    """J/answer of thoughts, their part of the joules by tokens."""


class SolvedTask(Part):
    """One task's answers, graded and metered."""

    task: str
    """Its name; empty for all of the run's together."""
    metric: str
    """What the share solved is the mean of."""
    filter: str
    """Which takes the answer out of the text."""
    shots: int
    """Examples that each question came with."""
    chat_template: bool
    """Whether questions were in the chat template."""
    sampling: str
    """How answers were made: ``greedy``, or how they were drawn."""
    baseline: Solving
    candidate: Solving
    ratio: Solving
    """Candidate over baseline, paired by item."""
    lengths: dict[Who, Lengths]
    items: list[SolvedItem] = Field(default_factory=list)
    """In the order of their indices; none for all tasks together, whose items are the tasks'."""
    claims: str | None = None
    """Why nothing may be claimed; null: there are enough items."""
