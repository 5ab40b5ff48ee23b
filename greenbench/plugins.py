"""What can be had by name, here and in installed plug-ins: read from sources, imported when used.

A technique or an engine is one class in one file, with ``name = "..."`` and ``summary = "..."`` in its
body. Both are read from the source, so that telling what there is imports nothing. A plug-in is a
package with an entry point, in the group that is called like the room here, that names a module of it
or the package itself; files of values may lie in the ``conf`` folder of that package.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from greenbench.errors import UserError

ROOMS = ("greenbench.techniques", "greenbench.engines")
TELLING = ("name", "summary")
CANDIDATE = re.compile(r"^\s+summary\b.*=", re.MULTILINE)  # parsing every file would take seconds


class Named(NamedTuple):
    """A class that can be had by name, not imported yet."""

    name: str
    summary: str
    module: str
    cls: str
    plugin: str | None
    """What brings it, in words; null for what comes with GreenBench."""

    def load(self) -> type:
        """The class. Raises UserError, one sentence, where its plug-in cannot be imported."""
        try:
            cls: type = getattr(importlib.import_module(self.module), self.cls)
        except ImportError as error:
            if self.plugin is None:
                raise
            raise UserError(_broken(self.plugin, error)) from error
        return cls


@cache
def named(room: str) -> dict[str, Named]:
    """All classes of `room`, such as ``greenbench.techniques``, and of its plug-ins, by name.

    Raises UserError for a plug-in whose module is not there.
    """
    classes = _within(room, None)
    kind = room.rpartition(".")[2].removesuffix("s")
    for plugin in entry_points(group=room):
        brings = f"{kind} plug-in {plugin.name}"
        try:
            classes |= _within(plugin.module, brings)
        except (ImportError, SyntaxError) as error:
            raise UserError(_broken(brings, error)) from error
    return dict(sorted(classes.items()))


def _within(module: str, plugin: str | None) -> dict[str, Named]:
    return {
        known.name: known
        for name, path in _sources(module)
        for known in _classes(name, path, plugin)
    }


def conf_folders() -> list[Path]:
    """The ``conf`` folders of the plug-ins' packages."""
    names = {
        plugin.module.partition(".")[0] for room in ROOMS for plugin in entry_points(group=room)
    }
    specs = (find_spec(name) for name in sorted(names))
    return [Path(str(spec.origin)).parent / "conf" for spec in specs if spec and spec.origin]


def _broken(plugin: str, why: object) -> str:
    return f"The {plugin} cannot be imported ({why}): reinstall or remove it."


def _sources(module: str) -> Iterator[tuple[str, Path]]:
    """The source of a module; of a package, those of all its modules."""
    for place in _places(module):
        if place.is_file():
            yield module, place
        for path in sorted(place.rglob("*.py")):
            parts = path.relative_to(place).with_suffix("").parts
            yield ".".join([module, *(part for part in parts if part != "__init__")]), path


def _places(module: str) -> list[Path]:
    """The file of a module, or the folders of a package. Its parents are not imported either."""
    top, *inner = module.split(".")
    spec = find_spec(top)
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    if spec and spec.origin and not places:
        places = [Path(spec.origin)]
    for part in inner:
        places = [path for place in places for path in (place / part, place / f"{part}.py")]
    there = [place for place in places if place.exists()]
    if not there:
        raise ModuleNotFoundError(f"No module named {module!r}")
    return there


def _classes(module: str, path: Path, plugin: str | None) -> Iterator[Named]:
    text = path.read_text(encoding="utf-8", errors="replace")
    if not CANDIDATE.search(text):
        return
    for node in ast.parse(text, path).body:
        told = _told(node) if isinstance(node, ast.ClassDef) else {}
        if isinstance(node, ast.ClassDef) and set(told) == set(TELLING):
            yield Named(told["name"], told["summary"], module, node.name, plugin)


def _told(node: ast.ClassDef) -> dict[str, str]:
    """What the class says in plain strings of its name and summary."""
    told = {}
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        value = getattr(line, "value", None)
        for target in targets:
            if (
                isinstance(target, ast.Name)
                and target.id in TELLING
                and isinstance(value, ast.Constant)
            ):
                told[target.id] = str(value.value)
    return told
