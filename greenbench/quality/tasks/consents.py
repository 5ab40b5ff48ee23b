"""What a task would run beside a model: refused, before any of it is loaded, unless the user allowed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from greenbench.errors import UserError
from greenbench.quality.tasks.digests import DATA, files_of
from greenbench.quality.tasks.lookup import FOLDER
from greenbench.quality.tasks.templates import reaching
from greenbench.quality.tasks.yaml_files import Function, Whole, read, values, whole
from greenbench.schema.spec import TaskSpec


def require_consents(name: str, spec: TaskSpec) -> None:
    """Raise UserError for what the files of a task say that they run, and is not allowed."""
    files = files_of(name, spec.include_path)
    for path in files:
        content: dict[str, Any] = {}
        with suppress(Exception):  # lm-eval will say what is wrong with the file
            content = read(path)
        if content.get("unsafe_code"):
            require_execution(str(content.get("task", name)), spec)
    foreign = {path: _whole(path) for path in files if not _is_installed(path)}
    for path, found in foreign.items():
        if found and (way := reaching(found.content)):
            raise UserError(
                f"task {name} reaches for Python in a template ({way} in {path.name}), and templates may "
                "only word what the data says: leave that out of the file, or choose another task."
            )
    for path, what in [] if spec.allow_task_code else _code(foreign):
        raise UserError(
            f"task {name} has Python code of its own ({what} in {path.name}), which would run with all "
            "your rights: read it, and allow it by task.allow_task_code=true, or choose another task."
        )


def require_execution(name: str, spec: TaskSpec) -> None:
    """Raise UserError unless code that models write may run."""
    if not spec.allow_code_execution:
        raise UserError(
            f"task {name} runs code that models write (unsafe_code), shut off from the network: allow it by "
            f"task.allow_code_execution=true, or choose another task."
        )


def _whole(path: Path) -> Whole | None:
    """Null: it cannot be read here, and may be read by lm-eval."""
    try:
        return whole(path)
    except Exception:  # whatever is wrong in a file that somebody wrote
        return None


def _code(foreign: dict[Path, Whole | None]) -> Iterator[tuple[Path, str]]:
    """What files outside of GreenBench and lm-eval name of Python, but for our readers of data."""
    contents = {path: list(_mappings(found)) for path, found in foreign.items() if found}
    graded = _all_functions(each for content in contents.values() for each in content)
    for path, found in foreign.items():
        if found is None:
            yield path, "what cannot be read"
            continue
        for function in found.named:
            if not _is_known(function):
                yield path, f"!function {function.text}"
        for each in contents[path]:
            if not (graded and "process_results" in each):
                yield from ((path, f"HF's metric {name}") for name in _programs(each))


def _is_known(function: Function) -> bool:
    """Whether it is lm-eval's, or one of ours; for that, too, lm-eval looks beside the file first."""
    ours = f"{function.module}." == DATA and not function.beside.exists()
    return ours or _is_installed(function.folder)


def _mappings(found: Whole) -> Iterator[dict[Any, Any]]:
    return (value for value in values(found.content) if isinstance(value, dict))


def _all_functions(mappings: Iterable[dict[Any, Any]]) -> bool:
    """Whether each that says how its task is graded names a function for it, so that its metrics are names
    alone, and no group takes that away."""
    graders = [each["process_results"] for each in mappings if "process_results" in each]
    return all(isinstance(each, Function) for each in graders)


def _programs(mapping: dict[Any, Any]) -> Iterator[str]:
    """Metrics that lm-eval lacks: HF's `evaluate` gets a program for each, from the hub or a path."""
    import lm_eval.api.metrics  # which fills the registry

    known, listed = lm_eval.api.registry.metric_registry, mapping.get("metric_list")
    for each in listed if isinstance(listed, (list, tuple)) else ():
        name = each.get("metric") if isinstance(each, dict) else None
        if isinstance(name, str) and (each.get("hf_evaluate") or name not in known):
            yield name


def _is_installed(path: Path) -> bool:
    """Whether it lies in GreenBench's folder of tasks, or in lm-eval."""
    found = find_spec("lm_eval")
    folders = [FOLDER, *map(Path, found.submodule_search_locations or () if found else ())]
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)
