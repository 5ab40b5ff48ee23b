"""A task's YAML file, read as lm-eval reads it, but for the functions that it names: none is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from greenbench.errors import UserError

BASE = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.FullLoader
"""As lm-eval's: what one loader reads as a function, another may read as text."""


class Function(NamedTuple):
    """A Python function that a YAML file names: ``!function module.name``."""

    text: str
    folder: Path
    """Of the file that names it; its modules are looked for there first."""

    @property
    def module(self) -> str:
        """Dotted."""
        return self.text.rpartition(".")[0]

    @property
    def beside(self) -> Path:
        """The file that lm-eval takes for its module, where there is one."""
        return self.folder / f"{self.module.replace('.', '/')}.py"


class Whole(NamedTuple):
    """A file with all that it includes."""

    content: dict[str, Any]
    named: list[Function]
    """All that lm-eval would import: also what a later key or an including file replaces."""


def read(path: Path) -> dict[str, Any]:
    """A task's YAML file with all that it includes, its functions not imported."""
    return whole(path).content


def whole(path: Path, within: tuple[Path, ...] = ()) -> Whole:
    """The same, and what functions are named in it; `within`: the files that include it."""
    path = path.expanduser().resolve()
    if path in within:
        raise UserError(f"The task file {path.name} includes itself: leave that out.")
    named: list[Function] = []

    class Loader(BASE):  # type: ignore[misc, valid-type]  # it is known when the program runs
        pass

    def noted(loader: Any, node: yaml.ScalarNode) -> Function:
        named.append(Function(str(loader.construct_scalar(node)), path.parent))
        return named[-1]

    Loader.add_constructor("!function", noted)
    content = dict(yaml.load(path.read_bytes(), Loader))
    includes = content.pop("include", [])
    merged: dict[str, Any] = {}
    for included in includes if isinstance(includes, list) else [includes]:
        part = whole(path.parent / included, (*within, path))
        merged |= part.content
        named += part.named
    return Whole(merged | content, named)


def values(content: Any) -> Iterator[Any]:
    """It and all that is in it, at whatever depth; what an alias repeats, once."""
    left, seen = [content], set[int]()
    while left:
        value = left.pop()
        yield value
        if isinstance(value, (dict, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))
            left += [*value, *value.values()] if isinstance(value, dict) else value
