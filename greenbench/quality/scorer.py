"""A model's answers to every item of the tasks, and the comparison of two models' answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.evaluator import evaluate

from greenbench.quality import paired
from greenbench.quality.lm import LoadedModel
from greenbench.quality.margins import margins
from greenbench.quality.quiet import quiet
from greenbench.quality.tasks import load_tasks, main_metric, pick_items
from greenbench.quantities import Quantity
from greenbench.records import Item, TaskScore
from greenbench.specs import TaskSpec
from greenbench.stats import Interval

if TYPE_CHECKING:
    from lm_eval.api.task import Task

UNITS = {"bits_per_byte": "bit/byte"}
"""Units of main metrics other than a fraction of items."""


@dataclass(frozen=True)
class TaskAnswers:
    """One model's main metric on each item of one task; the score is sum(values)/sum(weights)."""

    task: str
    metric: str
    higher_is_better: bool
    split: str
    indices: tuple[int, ...]
    """Places of the items in `split`."""
    values: tuple[float, ...]
    """1 for right and 0 for wrong; for bits per byte the bits."""
    weights: tuple[float, ...]
    """1; for bits per byte the UTF-8 bytes."""
    margins: tuple[float | None, ...] = ()
    """How sure the model is of its choice, as `Item.margin`; empty where that was not kept."""


def answers(
    model: torch.nn.Module, tokenizer: Any, spec: TaskSpec, progress: Callable[[int, int], None]
) -> list[TaskAnswers]:
    """Score a loaded causal language model, on the device where it is, on the items of `spec`.

    `progress` is called with requests done and their total over all tasks. Raises UserError for a
    task that cannot be had, FloatingPointError where the model's likelihoods are not numbers.
    """
    tasks = load_tasks(spec)
    metrics = {name: main_metric(task) for name, task in tasks.items()}
    items = {name: pick_items(name, len(task.eval_docs), spec) for name, task in tasks.items()}
    done = 0

    def one_done() -> None:
        nonlocal done
        done += 1
        progress(done, sum(len(task.instances) for task in tasks.values()))

    with quiet():
        lm = LoadedModel(model, tokenizer, one_done)
        found = evaluate(lm, {"tasks": tasks}, samples=items, bootstrap_iters=0)["samples"]
    return [_task_answers(task, metrics[name], found[name]) for name, task in tasks.items()]


def compare(baseline: list[TaskAnswers], candidate: list[TaskAnswers]) -> list[TaskScore]:
    """Levels of both models and the change between them, paired by item, task by task.

    Raises ValueError where the two were not asked the same items.
    """
    return [_compare(before, after) for before, after in zip(baseline, candidate, strict=True)]


def _task_answers(task: Task, metric: str, samples: list[dict[str, Any]]) -> TaskAnswers:
    config = task.config
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    _require_numbers(config.task, first)
    pairs = [_value_and_weight(metric, sample[metric]) for sample in first]
    return TaskAnswers(
        task=config.task,
        metric=metric,
        higher_is_better=task.higher_is_better()[metric],
        split=config.test_split if task.has_test_docs() else config.validation_split,
        indices=tuple(sample["doc_id"] for sample in first),
        values=tuple(value for value, _ in pairs),
        weights=tuple(weight for _, weight in pairs),
        margins=margins(task, metric, first),
    )


def _value_and_weight(metric: str, answer: Any) -> tuple[float, float]:
    """lm-eval gives nats (below 0) and bytes for bits per byte, else the metric of the item."""
    if metric == "bits_per_byte":
        nats, size = answer
        return -nats / math.log(2), float(size)
    return float(answer), 1.0


def _require_numbers(name: str, samples: list[dict[str, Any]]) -> None:
    """lm-eval takes the first choice where likelihoods are NaN: chance level, and no warning."""
    answered = sum(all(map(_is_number, sample["filtered_resps"])) for sample in samples)
    if answered < len(samples):
        raise FloatingPointError(
            f"{name}: the model's log-likelihoods are not finite numbers on "
            f"{len(samples) - answered} of {len(samples)} items, so its answers mean nothing: "
            f"choose a dtype with a wider range, or a milder technique."
        )


def _is_number(response: Any) -> bool:
    """A response is (log-likelihood, greedy), a log-likelihood or a generated text."""
    value = response[0] if isinstance(response, tuple) else response
    return not isinstance(value, float) or math.isfinite(value)


def _compare(before: TaskAnswers, after: TaskAnswers) -> TaskScore:
    if (before.task, before.indices, before.weights) != (after.task, after.indices, after.weights):
        raise ValueError(f"{before.task}: baseline and candidate were not asked the same items")
    unit = UNITS.get(before.metric, "fraction")
    sure = before.margins or (None,) * len(before.values)
    rows = zip(before.indices, before.values, after.values, before.weights, sure, strict=True)
    return TaskScore(
        task=before.task,
        metric=before.metric,
        higher_is_better=before.higher_is_better,
        split=before.split,
        baseline=_quantity(paired.level(before.values, before.weights), unit),
        candidate=_quantity(paired.level(after.values, after.weights), unit),
        change=_quantity(paired.change(before.values, after.values, before.weights), unit),
        items=[
            Item(index=i, baseline=b, candidate=c, weight=w, margin=m) for i, b, c, w, m in rows
        ],
    )


def _quantity(found: Interval, unit: str) -> Quantity:
    return Quantity(unit=unit, provenance="measured:score", **found._asdict())
