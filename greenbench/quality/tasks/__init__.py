"""Which tasks there are and which of their items are asked.

A name is one of the YAML files in this folder (lm-eval's format, data from a data wheel, no hub
needed), or the path of a YAML file in that format, or else any of lm-eval's own tasks, whose data
comes from the hub. Adding a task is adding a YAML file here; its metadata says which wheel holds
the data, the main metric, chance level, number of items and of few-shot examples, and licence.
"""

from __future__ import annotations

import random
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from greenbench.errors import UserError
from greenbench.models import texts
from greenbench.schema.spec import TaskSpec

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

    Cheap for our own tasks; the data of others is fetched or read.
    """
    ours = local_tasks()
    for name in spec.names:
        if name in ours:
            content = _content(name)
            texts.wheel_path(content["metadata"]["wheel"], "")
            if content.get("num_fewshot") != 0:
                _require_examples(name, content["metadata"]["examples"], spec.fewshot)
        elif _is_path(name) or name in _hub().all_tasks:
            for task in load_tasks(replace(spec, names=[name])).values():
                main_metric(task)
        else:
            raise UserError(_unknown(name, ours))


def load_tasks(spec: TaskSpec) -> dict[str, Task]:
    """lm-eval's task objects by name, few-shot examples seeded; a group's name gives its tasks.

    Presumes `check_tasks`. Raises UserError where data or few-shot examples are missing.
    """
    tasks: dict[str, Task] = {}
    for name in spec.names:
        tasks.update(_load(name))
    for name, task in tasks.items():
        if task.get_config("num_fewshot") != 0:  # lm-eval: a task that says 0 means it
            _require_examples(name, _examples(task), spec.fewshot)
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


def _examples(task: Task) -> int:
    """Examples that a few-shot prompt may show because no question is among them."""
    declared = (task.config.metadata or {}).get("examples")
    if declared is not None:
        return int(declared)
    kept_apart = task.config.fewshot_split or task.has_training_docs() or task.fewshot_cfg.samples
    return len(task.fewshot_docs()) if kept_apart else 0


def _require_examples(name: str, available: int, wanted: int) -> None:
    if wanted > available:
        raise UserError(
            f"task.fewshot={wanted} asks for more examples than the {available} that task {name} has "
            f"apart from its questions: set task.fewshot={available}, or choose other tasks."
        )


@cache
def _content(name: str) -> dict[str, Any]:
    """One of our YAML files, read without importing what it refers to."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda _, node: node.value)
    return dict(yaml.load((FOLDER / f"{name}.yaml").read_text(), Loader))


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _ours() -> TaskManager:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(FOLDER), include_defaults=False)


@cache
def _hub() -> TaskManager:
    """Index of lm-eval's own tasks: it reads 14,000 files, so only names that are not ours pay."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _load(name: str) -> dict[str, Task]:
    from greenbench.quality.lm_eval_quiet import quiet

    with quiet():
        if name in local_tasks():
            return dict(_ours().load(name)["tasks"])
        if _is_path(name):
            return _from_file(name)
        try:
            return dict(_hub().load(name)["tasks"])
        except (OSError, ValueError) as error:  # datasets and huggingface_hub raise both
            raise UserError(
                f"task {name} needs data from the hub, which did not give it ({_first(error)}): "
                f"check the connection, or choose from {', '.join(local_tasks())}."
            ) from error


def _from_file(name: str) -> dict[str, Task]:
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(
            f"task.names={name} is a path to no file: give the path of a task in lm-eval's format, "
            f"absolute or from where you start GreenBench."
        )
    try:
        return dict(_ours().load(str(path.resolve()))["tasks"])
    except Exception as error:  # whatever is wrong in a file that the user wrote
        raise UserError(
            f"task.names={name} is no task that lm-eval can load ({_first(error)}): correct the file."
        ) from error


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _unknown(name: str, ours: list[str]) -> str:
    close = get_close_matches(name, ours, n=2) or get_close_matches(name, _hub().all_tasks, n=2)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    return (
        f"task.names={name} is unknown{hint}: allowed are {', '.join(ours)}, "
        f"the path of a YAML file, or the name of any of lm-eval's own tasks where a hub is reachable."
    )
