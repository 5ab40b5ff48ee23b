"""A model's answers to every item of the tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lm_eval.evaluator import evaluate
from lm_eval.utils import apply_template

from greenbench.engines.engine import Served
from greenbench.engines.query import Seen
from greenbench.engines.tokenizer import Tokenizer
from greenbench.errors import UserError
from greenbench.quality.answers import Answers, Choice, TaskAnswers
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.lm_eval_seeds import seeded
from greenbench.quality.tasks import by_likelihood, chosen, load_tasks, main_metric
from greenbench.schema.spec import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.task import Task

LENGTHS: dict[str, Callable[[str], int]] = {
    "acc_norm": len,
    "acc_bytes": lambda text: len(text.encode()),
}
"""What lm-eval's metrics divide the log-likelihood of a choice by."""


def answers(
    served: Served,
    spec: TaskSpec,
    progress: Callable[[int, int], None],
    reference: Seen | None = None,
) -> Answers:
    """Score a model that is served on the items of `spec`.

    `progress` is called with requests done and their total over all tasks. What the model predicts
    on whole texts is compared with `reference`, or else kept. Raises UserError for a
    task that cannot be had, FloatingPointError where the model's likelihoods are not numbers.
    """
    done = 0

    def one_done() -> None:
        nonlocal done
        done += 1
        asked = (instance for task in tasks.values() for instance in task.instances)
        progress(done, sum(instance.repeats for instance in asked))

    with quiet(), seeded():
        tasks = by_likelihood(load_tasks(spec))
        metrics = {name: main_metric(task, spec.metric) for name, task in tasks.items()}
        samples = chosen(tasks, spec) if spec.items else None  # a list of all is slow to look into
        lm = served.language_model(one_done, reference)
        unscored = _unscored(lm, tasks)
        tasks = {name: task for name, task in tasks.items() if name not in unscored}
        found: Any = {}
        if tasks:
            chat = applies_chat(spec, served.tokenizer, words=False)
            found = evaluate(
                lm,
                {"tasks": tasks},
                samples=samples,
                bootstrap_iters=0,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,  # as lm-eval's own command does
            )["samples"]
    given = [_task_answers(task, metrics[name], found[name]) for name, task in tasks.items()]
    return Answers(given, *served.nearness(), unscored)


def _unscored(lm: Any, tasks: Mapping[str, Task]) -> dict[str, str]:
    """Tasks whose requests the model cannot answer, each with the reason: it says so in `cannot`."""
    cannot: Mapping[str, str] = getattr(lm, "cannot", {})
    asks = {"multiple_choice": "loglikelihood"}
    kinds = {name: asks.get(task.OUTPUT_TYPE, task.OUTPUT_TYPE) for name, task in tasks.items()}
    return {name: cannot[kind] for name, kind in kinds.items() if kind in cannot}


def applies_chat(spec: TaskSpec, tokenizer: Tokenizer, *, words: bool) -> bool:
    """Whether questions are put into the chat template; `words`: they are answered in words.

    Raises UserError where there is none to put them into.
    """
    if spec.chat_template is True and tokenizer.template is None:
        raise UserError(
            "task.chat_template=true asks for a chat template, and the model has none: say auto or false."
        )
    wanted = words if spec.chat_template == "auto" else bool(spec.chat_template)
    return wanted and tokenizer.template is not None


def content(spec: TaskSpec) -> str:
    """SHA-256 over every request that `answers` would make, which few-shot examples are part of."""
    digest = hashlib.sha256()
    with quiet(), seeded():
        tasks = by_likelihood(load_tasks(spec))
        for name, items in chosen(tasks, spec).items():
            task = tasks[name]
            task.build_all_requests(samples=items)
            asked = [(instance.request_type, instance.args) for instance in task.instances]
            metric = main_metric(task, spec.metric)
            digest.update(repr((name, metric, asked)).encode())
    return digest.hexdigest()


def _task_answers(task: Task, metric: str, samples: list[dict[str, Any]]) -> TaskAnswers:
    config = task.config
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    _require_numbers(config.task, first)
    pairs = [_value_and_weight(metric, sample[metric]) for sample in first]
    return TaskAnswers(
        task=config.task,
        metric=metric,
        higher_is_better=task.higher_is_better()[metric],
        split=split_of(task),
        indices=tuple(sample["doc_id"] for sample in first),
        values=tuple(value for value, _ in pairs),
        weights=tuple(weight for _, weight in pairs),
        documents=tuple(document(task, sample) for sample in first),
        choices=tuple(_choices(task, metric, sample) for sample in first),
    )


def split_of(task: Task) -> str:
    """The split that is asked; a task that is a class of its own may not say what its splits are called."""
    if task.has_test_docs():
        return task.config.test_split or "test"
    return task.config.validation_split or "validation"


def document(task: Task, sample: Mapping[str, Any]) -> str:
    """What an item is about, hashed: what the task's metadata says that items may share, or else itself."""
    template = (task.config.metadata or {}).get("document")
    shared = apply_template(template, sample["doc"]) if template else ""
    return hashlib.sha256(shared.encode()).hexdigest()[:12] if shared else str(sample["doc_id"])


def _choices(task: Task, metric: str, sample: dict[str, Any]) -> tuple[Choice, ...]:
    if task.OUTPUT_TYPE != "multiple_choice":
        return ()
    texts = task.doc_to_choice(sample["doc"])
    answers = [nats for nats, _ in sample["filtered_resps"]]
    nats = answers[: len(texts)]
    if metric == "acc_mutual_info":  # lm-eval asks for each choice without the question as well
        nats = [with_it - bare for with_it, bare in zip(nats, answers[len(texts) :], strict=True)]
    length = LENGTHS.get(metric, lambda text: 1)
    return tuple(Choice(*pair) for pair in zip(nats, map(float, map(length, texts)), strict=True))


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
