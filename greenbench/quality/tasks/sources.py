"""The Python files behind a function that a task's file names."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from greenbench.quality.tasks.yaml_files import Function

INSTALLED = tuple(Path(sysconfig.get_paths()[kind]).resolve() for kind in ("purelib", "platlib"))
OURS = __name__.partition(".")[0]


class Sources(NamedTuple):
    """What a function is made of."""

    files: set[Path]
    """Its module, those that they import, and the files beside them that their text names."""
    packages: set[str]
    """Installed packages that they import, as ``name==version``."""


def sources(function: Function) -> Sources:
    """Of installed packages only the function's own module is a file; the version stands for the rest,
    and for all of GreenBench."""
    module, beside = function.module, function.beside
    if module.partition(".")[0] == OURS and not beside.is_file():
        return Sources(set(), set())
    start = beside if beside.is_file() else _file(_root(module), module)
    found = Sources(set(), set())
    left = [start] if start else []
    while left:
        path = left.pop()
        if path in found.files:
            continue
        found.files.add(path)
        if path.suffix == ".py":
            tree = ast.parse(path.read_bytes())
            found.files.update(_named(tree, path.parent))
            left += _imported(tree, path, found.packages)
    return found


def _named(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Files that strings in the code name, from its folder or from where the program was started."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and len(text) < 256 and text.isprintable() and {*text} & {*"./"}:
            yield from (path for path in (folder / text, Path(text)) if path.is_file())


def _imported(tree: ast.AST, path: Path, packages: set[str]) -> Iterator[Path]:
    """Files of the modules that are imported; of installed ones the package, into `packages`."""
    for name, level in _imports(tree):
        top = name.partition(".")[0]
        if level:
            found = _file(path.parents[level - 1], f".{name}")
        elif top == OURS or top in sys.stdlib_module_names:
            continue
        elif (root := _root(top)) is None:
            found = _file(path.parent, f".{name}")
        elif any(map(root.is_relative_to, INSTALLED)):
            packages.add(f"{top}=={_version(top)}")
            continue
        else:
            found = _file(root, name)
        if found:
            yield found


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names with the dots before them; what is imported from a package may be a module of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module, node.level
            for alias in node.names:
                yield f"{module}.{alias.name}".strip("."), node.level


def _root(module: str) -> Path | None:
    """The folder or file of the top of `module`, which is not imported."""
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return next((Path(place).resolve() for place in places if place and Path(place).exists()), None)


def _file(root: Path | None, module: str) -> Path | None:
    """The file of `module`, whose top lies at `root`; a dot before it: in that folder."""
    if root is None:
        return None
    parts = module.split(".")[1:]
    if not parts or parts == [""]:
        return root if root.is_file() else None
    place = (root.parent if root.is_file() else root).joinpath(*parts)
    beside = place.with_name(f"{place.name}.py")
    return next((path for path in (beside, place / "__init__.py") if path.is_file()), None)


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # its distribution has another name
        return ""
