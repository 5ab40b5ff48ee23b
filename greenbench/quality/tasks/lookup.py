"""Where a task's name leads: to a file of the user's, to one of ours, or to lm-eval's own.

lm-eval indexes folders of YAML files. Its own hold 14,000, so that is read only where a name leads there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.errors import UserError
from greenbench.quality.shut_off import consenting
from greenbench.quality.tasks.templates import shut_in
from greenbench.quality.tasks.yaml_files import read
from greenbench.schema.spec import TaskSpec
from greenbench.wording import meant

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._index import Entry

FOLDER = Path(__file__).parent
GUESSED = 10


class Place(NamedTuple):
    """A task, a group or a tag, by the name that its file gives it, and the index that knows it."""

    index: TaskManager
    name: str
    theirs: bool
    """Whether it is lm-eval's own."""


def local_tasks() -> list[str]:
    """Names of the tasks in this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def is_path(name: str) -> bool:
    """Whether it is meant as the path of a YAML file."""
    return name.endswith((".yaml", ".yml"))


def is_ours(name: str, include_path: str | None) -> bool:
    """Whether it leads to a file in this folder, as far as can be said without an index."""
    return include_path is None and name in local_tasks()


def items_of(spec: TaskSpec, items: int) -> float:
    """How many of a task are asked where so many, or by 0 all, are to be, in the mean of the tasks.

    All of a task that has no file here are taken for ten times as many as the `spec` asks.
    """
    at_all = [
        read(FOLDER / f"{name}.yaml")["metadata"]["items"]
        if is_ours(name, spec.include_path)
        else GUESSED * (spec.items or 1)
        for name in spec.names
    ]
    return sum(min(items or each, each) for each in at_all) / len(at_all) if at_all else 1.0


def find(name: str, include_path: str | None) -> Place:
    """Where `name` leads. Raises UserError where that is nowhere.

    Of files that give the same name, the one nearest to the user counts: beside a group's file, in
    `include_path`, in this folder, in lm-eval's.
    """
    from lm_eval.tasks import TaskManager

    from greenbench.quality.lm_eval_quiet import quiet

    with quiet():
        folders = [FOLDER, *_included(include_path)]
        near = TaskManager(include_path=folders, include_defaults=False)
        if is_path(name):
            name = _add_file(near.task_index, name)
        if name not in near.task_index:
            if name not in _lm_eval().task_index:
                raise UserError(_unknown(name, include_path, near.all_tasks))
            return Place(_lm_eval(), name, theirs=True)
        if _leads_out(name, near.task_index):
            for theirs, entry in _lm_eval().task_index.items():
                near.task_index.setdefault(theirs, entry)
    return Place(near, name, theirs=False)


def load(
    names: Iterable[str], include_path: str | None, *, consents: bool = False
) -> dict[str, Task]:
    """lm-eval's task objects by name; a group's or a tag's name gives its tasks.

    `consents`: whether what models write may be run. Raises UserError for what cannot be loaded or is
    asked for twice.
    """
    from greenbench.quality.lm_eval_quiet import quiet

    shut_in()
    built: dict[str, list[Task | Group]] = {}
    with quiet(), consenting(consents):
        for name in dict.fromkeys(names):
            place = find(name, include_path)
            built[name] = _build(name, place)
            require_one(task for each in built.values() for task in _names(each))
        everything = [each for part in built.values() for each in part]
        return dict(place.index.load(everything)["tasks"])


def require_one(names: Iterable[str]) -> None:
    """Raise UserError where two tasks have one name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(
                f"task.names asks for two tasks that are both called {name}: give one of them another "
                f"name in its file, or leave one out."
            )


def _build(name: str, place: Place) -> list[Task | Group]:
    try:
        found = place.index._load_spec(place.name)  # `load` would draw at random in between
        built = found if isinstance(found, list) else [found]
        tasks = _names(built)
    except UserError:  # of a data wheel that is missing
        raise
    except Exception as error:  # whatever is wrong in a file that the user wrote
        raise UserError(_unusable(name, place, error)) from error
    if not tasks:
        raise UserError(f"task.names={name} is a group of no tasks: name some in its file.")
    return built


def _names(built: list[Task | Group]) -> set[str]:
    """Of all tasks in `built`."""
    parts = [each.get_all_tasks() if hasattr(each, "get_all_tasks") else [each] for each in built]
    return {task.config.task for part in parts for task in part}


def members(content: dict[str, Any]) -> list[str]:
    """Names that a group's file refers to."""
    listed = content.get("task")
    names = []
    for member in listed if "group" in content and isinstance(listed, list) else []:
        if isinstance(member, dict):
            names.append(str(member.get("group", member.get("task"))))
            names += members(member)
        else:
            names.append(str(member))
    return names


@cache
def _lm_eval() -> TaskManager:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _included(include_path: str | None) -> list[Path]:
    if include_path is None:
        return []
    folder = Path(include_path).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"task.include_path={include_path} is no directory: give the one that holds your tasks' "
            f"YAML files, absolute or from where you start GreenBench."
        )
    return [folder.resolve()]


def _add_file(index: dict[str, Entry], name: str) -> str:
    """Index the file and, of a group, those beside it; return the name that the file gives."""
    from lm_eval.tasks._index import TaskIndex
    from lm_eval.tasks._yaml_loader import load_yaml

    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise UserError(
            f"task.names={name} is a path to no file: give the path of a task in lm-eval's format, "
            f"absolute or from where you start GreenBench."
        )
    try:
        content = load_yaml(path, resolve_func=False)
        own = content.get("group", content.get("task"))
        if not isinstance(own, str):
            raise ValueError("it says neither `task: NAME` nor `group: NAME`")
        beside: dict[str, Entry] = {}
        TaskIndex.process_cfg(content, path, beside)
    except Exception as error:  # whatever is wrong in a file that the user wrote
        raise UserError(_no_task(name, error)) from error
    if "group" in content:
        for each in sorted(path.parent.glob("*.yaml")):
            _index_quietly(each, beside)
    index.update(beside)
    return own


def _index_quietly(path: Path, index: dict[str, Entry]) -> None:
    """As lm-eval indexes a folder: files that are no tasks may lie there too."""
    from lm_eval.tasks._index import TaskIndex
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        TaskIndex.process_cfg(load_yaml(path, resolve_func=False), path, index)
    except Exception:  # as in lm-eval
        return


def _leads_out(name: str, index: dict[str, Entry]) -> bool:
    """Whether `name` is, or leads to, a name that is not in `index`."""
    left, seen = [name], set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        if name not in index:
            return True
        seen.add(name)
        entry = index[name]
        left += [*members(entry.cfg or {}), *(() if entry.cfg else entry.tags)]
    return False


def _unusable(name: str, place: Place, error: Exception) -> str:
    ours = ", ".join(local_tasks())
    if not place.theirs:
        return _no_task(name, error)
    if isinstance(error, (OSError, ValueError)):  # datasets and huggingface_hub raise both
        return (
            f"task {name} needs data from the hub, which did not give it ({first_line(error)}): "
            f"check the connection, or choose from {ours}."
        )
    return (
        f"lm-eval's own task {name} cannot be loaded ({first_line(error)}): install what it needs, or "
        f"choose from {ours}."
    )


def _no_task(name: str, error: Exception) -> str:
    return f"task.names={name} is no task that lm-eval can load ({first_line(error)}): correct the file."


def first_line(error: Exception) -> str:
    """What it says first, or else its kind."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _unknown(name: str, include_path: str | None, near: list[str]) -> str:
    ours = local_tasks()
    hint = meant(name, near) or meant(name, _lm_eval().all_tasks)
    included = _first_broken(_included(include_path))
    return (
        f"task.names={name} is unknown{hint}: {included}allowed are {', '.join(ours)}, "
        f"the path of a YAML file, what files in task.include_path are named, or the name of any of "
        f"lm-eval's own tasks where a hub is reachable."
    )


def _first_broken(folders: list[Path]) -> str:
    """Why a name may be missing: lm-eval passes over files that it cannot read."""
    from lm_eval.tasks._yaml_loader import load_yaml

    for path in sorted(path for folder in folders for path in folder.rglob("*.yaml")):
        try:
            load_yaml(path, resolve_func=False)
        except Exception as error:
            return f"{path.name} in task.include_path cannot be read ({first_line(error)}); "
    return ""
