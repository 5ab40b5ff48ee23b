"""Which tasks there are and which of their items are asked.

A name is one of the YAML files in this folder (lm-eval's format, data from a data wheel, no hub
needed) or else any of lm-eval's own tasks, whose data comes from the hub. Adding a task is adding
a YAML file here; its metadata says which wheel holds the data, the main metric, chance level,
number of items and licence.
"""

from __future__ import annotations

import random
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from greenbench import texts
from greenbench.errors import UserError
from greenbench.specs import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

FOLDER = Path(__file__).parent
METRICS = ("acc_norm", "acc", "exact_match", "bits_per_byte")
"""Metrics with a value for each item, in the order of preference for tasks that are not ours."""


def local_tasks() -> list[str]:
    """Names of the tasks in this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def check_tasks(spec: TaskSpec) -> None:
    """Raise UserError for a task that cannot be had, so that no model is loaded in vain.

    Cheap for our own tasks; a hub task's data is fetched.
    """
    ours = local_tasks()
    for name in spec.names:
        if name in ours:
            texts.wheel_path(_metadata(name)["wheel"], "")
        elif name in _hub().all_tasks:
            for task in _load(name).values():
                main_metric(task)
        else:
            raise UserError(_unknown(name, ours))


def load_tasks(spec: TaskSpec) -> dict[str, Task]:
    """lm-eval's task objects by name, few-shot examples seeded; a group's name gives its tasks.

    Presumes `check_tasks`. Raises UserError where data is missing.
    """
    tasks: dict[str, Task] = {}
    for name in spec.names:
        tasks.update(_load(name))
    for task in tasks.values():
        if task.get_config("num_fewshot") != 0:  # lm-eval: a task that says 0 means it
            task.set_config("num_fewshot", spec.fewshot)
        task.set_fewshot_seed(spec.seed)
    return tasks


def pick_items(name: str, available: int, spec: TaskSpec) -> list[int]:
    """Indices of the items asked, sorted; the same for every run, and more items add to fewer."""
    order = list(range(available))
    random.Random(f"{spec.seed} {name}").shuffle(order)
    return sorted(order[: spec.items or available])


def main_metric(task: Task) -> str:
    """The metric that stands for `task`.

    Ours say it themselves: acc_norm (log-likelihood divided by the answer's length, lm-eval's
    convention) where answers differ in length, acc where they are one word, bits_per_byte for
    text. Raises UserError for a hub task that has no metric for each item.
    """
    offered = task.higher_is_better()
    declared = (task.config.metadata or {}).get("main_metric")
    for metric in (declared, *METRICS):
        if metric in offered:
            return str(metric)
    raise UserError(
        f"task {task.config.task} reports {', '.join(offered)}, none of which compares two models "
        f"item by item: choose a task with {', '.join(METRICS)}."
    )


@cache
def _metadata(name: str) -> dict[str, Any]:
    """Metadata of one of our tasks, read without importing what its YAML refers to."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda _, node: node.value)
    return dict(yaml.load((FOLDER / f"{name}.yaml").read_text(), Loader)["metadata"])


@cache
def _hub() -> TaskManager:
    """Index of lm-eval's own tasks: it reads 14,000 files, so only names that are not ours pay."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _load(name: str) -> dict[str, Task]:
    from lm_eval.tasks import TaskManager

    from greenbench.quality.quiet import quiet

    with quiet():
        if name in local_tasks():
            manager = TaskManager(include_path=str(FOLDER), include_defaults=False)
            return dict(manager.load(name)["tasks"])
        try:
            return dict(_hub().load(name)["tasks"])
        except (OSError, ValueError) as error:  # datasets and huggingface_hub raise both
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"task {name} needs data from the hub, which did not give it ({reason}): check the "
                f"connection, or choose from {', '.join(local_tasks())}."
            ) from error


def _unknown(name: str, ours: list[str]) -> str:
    close = get_close_matches(name, ours, n=2) or get_close_matches(name, _hub().all_tasks, n=2)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    return (
        f"task.names={name} is unknown{hint}: allowed are {', '.join(ours)}, "
        f"or the name of any of lm-eval's own tasks where a hub is reachable."
    )
