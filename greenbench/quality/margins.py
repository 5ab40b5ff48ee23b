"""How sure a model is of its choice among an item's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm_eval.api.task import Task

BY_LENGTH = "acc_norm"
"""The main metric that divides each choice's log-likelihood by its characters, as lm-eval does."""


def margins(task: Task, metric: str, samples: list[dict[str, Any]]) -> tuple[float | None, ...]:
    """Per item, the best choice's log-likelihood less the second best's; null without choices.

    `samples` are lm-eval's own. In nats, or nats per character where `metric` is acc_norm.
    """
    if task.OUTPUT_TYPE != "multiple_choice":
        return (None,) * len(samples)
    return tuple(_margin(task, metric, sample) for sample in samples)


def _margin(task: Task, metric: str, sample: dict[str, Any]) -> float | None:
    choices = task.doc_to_choice(sample["doc"])
    sizes = [len(choice) if metric == BY_LENGTH else 1 for choice in choices]
    likelihoods = [
        nats for nats, _ in sample["filtered_resps"]
    ]  # beyond the choices: unconditional
    ordered = sorted(nats / size for nats, size in zip(likelihoods, sizes, strict=False))
    return round(ordered[-1] - ordered[-2], 6) if len(ordered) > 1 else None
