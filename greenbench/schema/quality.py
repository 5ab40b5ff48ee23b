"""What the two models answered to a task, item by item, as a record keeps it."""

from __future__ import annotations

from functools import cached_property

from greenbench.schema.quantity import Part, Quantity


class Item(Part):
    """One item's answers. `index` counts in the task's own evaluation split."""

    index: int
    """Its place in the split."""
    baseline: float
    """Value of the task's main metric on this item (for bits per byte: the bits)."""
    candidate: float
    """Likewise of the candidate."""
    weight: float = 1.0
    """What the values are divided by when summed (for bits per byte: the bytes)."""
    margin: float | None = None
    """How sure the baseline is: the log-likelihood of its best choice less that of the second best, in
    nats, or nats per character where the main metric is acc_norm. Null where there are no choices."""
    document: str | None = None
    """Hash of what the item may share with others, such as a passage; null: nothing."""


class Fidelity(Part):
    """How near the candidate's predictions are to the baseline's, whatever is right."""

    divergence: Quantity
    """Mean KL(baseline || candidate) over a question's choices or, on text, over the vocabulary."""
    agreement: Quantity
    """Share of the questions with the same answer or, on text, of tokens with the same likeliest."""


class TaskScore(Part):
    """One task's main metric for baseline and candidate, with every item."""

    task: str
    """Its name."""
    metric: str
    """Its main metric, as lm-eval names it."""
    higher_is_better: bool
    """Of that metric."""
    filter: str | None = None
    """Which takes the answer out of a text; null: no text was written."""
    split: str
    """Of the task's data, from which the items are."""
    baseline: Quantity
    """Over all items."""
    candidate: Quantity
    """Over all items."""
    change: Quantity
    """Candidate minus baseline, paired by item."""
    items: list[Item]
    """In the order of their indices in the task."""
    fidelity: Fidelity | None = None
    """Null where neither choices nor whole texts were compared: `fidelity_reason` says why not."""
    fidelity_reason: str | None = None
    """Null in records of a time when it went without saying: the task has neither."""

    @cached_property
    def is_accuracy(self) -> bool:
        """Whether the items are answers, each right (1), wrong (0) or partly right."""
        answers = all(
            item.weight == 1 and 0 <= item.baseline <= 1 and 0 <= item.candidate <= 1
            for item in self.items
        )
        return self.higher_is_better and bool(self.items) and answers
