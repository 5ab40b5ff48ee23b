"""What a task would run beside a model: refused, before any of it is loaded, unless the user allowed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from greenbench.errors import UserError
from greenbench.quality.tasks.digests import DATA, files_of, functions
from greenbench.quality.tasks.lookup import FOLDER, Function, read
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
    if not spec.allow_task_code:
        for path in files:
            for named in _code(path):
                raise UserError(
                    f"task {name} has Python code of its own ({named} in {path.name}), which would run with "
                    "all your rights: read it, and allow it by task.allow_task_code=true, or choose another "
                    "task."
                )


def require_execution(name: str, spec: TaskSpec) -> None:
    """Raise UserError unless code that models write may run."""
    if not spec.allow_code_execution:
        raise UserError(
            f"task {name} runs code that models write (unsafe_code), shut off from the network: allow it by "
            f"task.allow_code_execution=true, or choose another task."
        )


def _code(path: Path) -> Iterator[str]:
    """What a file outside of GreenBench and lm-eval names of Python, but for our readers of data.

    What cannot be read here may be read by lm-eval: it has code where its text speaks of some.
    """
    if _is_installed(path):
        return
    try:
        found = [function for function in functions(read(path)) if not _is_known(function)]
    except Exception:  # whatever is wrong in a file that somebody wrote
        if b"!function" in path.read_bytes():
            yield "!function"
        return
    yield from (f"!function {function.text}" for function in found)


def _is_known(function: Function) -> bool:
    return function.text.startswith(DATA) or _is_installed(function.folder)


def _is_installed(path: Path) -> bool:
    """Whether it lies in GreenBench's folder of tasks, or in lm-eval."""
    found = find_spec("lm_eval")
    folders = [FOLDER, *map(Path, found.submodule_search_locations or () if found else ())]
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)
