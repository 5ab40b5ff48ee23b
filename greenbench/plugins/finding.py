"""What a source says of the classes in it, without an import of it or of what lies around it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

TELLING = ("name", "summary")
NAME = re.compile(r"[a-z][a-z0-9_]*")
TAKEN = {"schema", "null", "true", "false", "nan", "inf"}
"""What an override reads as a value, or as a group."""
KINDS = {
    "greenbench.techniques": {"Technique", "ModelEdit", "EngineOption", "MachineSetting"},
    "greenbench.engines": {"Engine"},
    "greenbench.meters": {"Meter"},
}
"""What the classes of each room are built on."""
SUMMARY = re.compile(r"^\s+summary\b.*=", re.MULTILINE)  # parsing every file would take seconds


class Told(NamedTuple):
    """A class that is meant to be had by name, and what is wrong with that, if anything is."""

    name: str | None
    summary: str
    module: str
    cls: str
    path: Path
    flaw: str | None


class _Class(NamedTuple):
    module: str
    path: Path
    node: ast.ClassDef

    @property
    def bases(self) -> set[str]:
        """The last part of each base's name."""
        return {ast.unparse(base).partition("[")[0].split(".")[-1] for base in self.node.bases}


def sources(module: str) -> list[tuple[str, Path]]:
    """The source of a module; of a package, those of all its modules. Raises ImportError."""
    return list(_sources(module))


def _sources(module: str) -> Iterator[tuple[str, Path]]:
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


def told(room: str, files: Sequence[tuple[str, Path]], *, all_of_them: bool) -> list[Told]:
    """The classes in `files` that are meant to be had in `room`.

    Files without a summary are passed over but for `all_of_them`. Raises SyntaxError, or ValueError
    for a file that is no text.
    """
    found = [each for module, path in files for each in _classes(module, path, all_of_them)]
    ours = _with_heirs(KINDS[room], found)
    others = _with_heirs(set().union(*(KINDS[other] for other in KINDS if other != room)), found)
    bases = {base for each in found for base in each.bases}
    return [
        told
        for each in found
        if (mine := bool(each.bases & ours)) or not each.bases & others
        if (told := _told(each, mine, each.node.name in bases))
    ]


def knobs(path: Path, cls: str) -> list[str]:
    """The fields of a class in a file, those of its bases there first."""
    bodies = {n.name: n for n in ast.parse(path.read_bytes()).body if isinstance(n, ast.ClassDef)}
    return list(dict.fromkeys(_knobs(bodies, cls)))


def defaults(path: Path, cls: str) -> dict[str, object]:
    """The defaults of those that are written as plain values, an heir's own in place of its base's."""
    bodies = {n.name: n for n in ast.parse(path.read_bytes()).body if isinstance(n, ast.ClassDef)}
    return dict(_defaults(bodies, cls))


def _defaults(bodies: Mapping[str, ast.ClassDef], cls: str) -> Iterator[tuple[str, object]]:
    if cls in bodies:
        for base in bodies[cls].bases:
            yield from _defaults(bodies, ast.unparse(base))
        for line in _fields(bodies[cls]):
            if isinstance(line.value, ast.Constant):
                yield ast.unparse(line.target), line.value.value


def _fields(cls: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    for line in cls.body:
        if isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line.annotation):
            yield line


def _knobs(bodies: Mapping[str, ast.ClassDef], cls: str) -> Iterator[str]:
    if cls in bodies:
        for base in bodies[cls].bases:
            yield from _knobs(bodies, ast.unparse(base))
        yield from (ast.unparse(line.target) for line in _fields(bodies[cls]))


def _classes(module: str, path: Path, whatever: bool) -> list[_Class]:
    text = path.read_text(encoding="utf-8")
    if not (whatever or SUMMARY.search(text)):
        return []
    nodes = ast.parse(text, path).body
    return [_Class(module, path, node) for node in nodes if isinstance(node, ast.ClassDef)]


def _with_heirs(kinds: set[str], found: Sequence[_Class]) -> set[str]:
    """`kinds`, and the names of the classes that are built on them, however far."""
    known = set(kinds)
    while more := {each.node.name for each in found if each.bases & known} - known:
        known |= more
    return known


def _told(found: _Class, ours: bool, is_base: bool) -> Told | None:
    """What the class says of itself; null for one that is not meant to be had."""
    said = _said(found.node)
    shared = found.node.name.startswith("_") or (is_base and "name" not in said)
    if set(said) != set(TELLING) and (shared or not ours):
        return None
    flaw = next(filter(None, (_flaw(key, said.get(key)) for key in TELLING)), None)
    words = {key: value.value for key, value in said.items() if isinstance(value, ast.Constant)}
    name = words.get("name")
    return Told(
        name if isinstance(name, str) and NAME.fullmatch(name) else None,
        " ".join(str(words.get("summary", "")).split()),
        found.module,
        found.node.name,
        found.path,
        flaw,
    )


def _said(node: ast.ClassDef) -> dict[str, ast.expr]:
    """The name and the summary as they are written."""
    said = {}
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        value = getattr(line, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and target.id in TELLING and value is not None:
                said[target.id] = value
    return said


def _flaw(key: str, value: ast.expr | None) -> str | None:
    """What is wrong with a name or a summary, and what to write instead."""
    example = "my_name" if key == "name" else "what it is, in a few words"
    if value is None:
        return f'has no {key} in its body: write {key} = "{example}" there'
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return f'has a {key} that is no plain string: write {key} = "{example}"'
    if not value.value.strip():
        return f'has an empty {key}: write {key} = "{example}"'
    if key == "name" and (not NAME.fullmatch(value.value) or value.value in TAKEN):
        return (
            f"has the name {value.value!r}, which no override can hold: write lower-case letters, "
            f"digits and underscores, a letter first, and none of {', '.join(sorted(TAKEN))}"
        )
    return None
