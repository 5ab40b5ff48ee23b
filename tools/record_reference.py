"""What docs/record.md says of a record: each part, its fields, their units, and where they come from."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel

UNITS = {
    "_s": "s", "_j": "J", "_w": "W", "_c": "°C", "_mhz": "MHz", "bytes": "B", "tokens": "tokens",
    "iterations": "requests", "_ms": "ms", "parameters": "parameters", "layers": "layers", "_ratio": "ratio",
}  # fmt: skip
"""Units stand in the names (docs/architecture.md); a name that ends so has this unit."""
CLOCKED, HELD, COUNTED = "measured:clock", "measured:memory", "measured:count"
FROM = {"s": CLOCKED, "B": HELD} | dict.fromkeys(
    ("count", "tokens", "requests", "prompts", "parameters", "layers"), COUNTED
)
COUNT, FRACTION, LESS_1 = "count", "fraction of the value", "ratio less 1"
OF_NAMES = {
    **dict.fromkeys(
        (
            "n",
            "rounds",
            "of_rounds",
            "blocks",
            "max_blocks",
            "limit",
            "needed",
            "items",
            "asked",
            "shots",
            "cut",
            "group",
        ),
        COUNT,
    ),
    **dict.fromkeys(("fewshot", "batch_size", "family"), COUNT),
    **dict.fromkeys(("value", "low", "high"), "its `unit`"),
    **dict.fromkeys(("p_difference", "p_adjusted", "p_equivalence"), "probability"),
    **dict.fromkeys(("target_half_width", "half_width"), "fraction of the ratio"),
    **dict.fromkeys(("baseline", "candidate", "weight"), "of the task's metric"),
    **dict.fromkeys(("index", "position"), "place, from 0"),
    "unit": "number, from 0",
    "grades": "of the task's metric",
    "drafts": "tokens",
    "seconds": "s",
    "dtypes": "B",
    "seed": "none",
    "session": "number, from 1",
    "shared": "fraction of the prompt",
    "residual": LESS_1,
    "slopes": "as its name says",
    "sparsity": "fraction of the weights",
    "touched": "fraction of the weights",
    "throttle": "bits of a mask",
    "utilization": "%",
    "margin": "nats",
    "probe": "nats a token",
    **dict.fromkeys(("load", "headline"), "requests/s or users"),
    **dict.fromkeys(
        ("due", "ended", "failed", "unfinished", "cut", "silent", "requests", "good"), "requests"
    ),
    **dict.fromkeys(("sent", "repeated"), "prompts"),
    **dict.fromkeys(("in_flight", "running", "waiting", "at_once"), "requests"),
    "busy": "fraction of the time",
    "rate": "requests/s",
    "loss": "nats a token",
    "target_loss": "nats a token",
    "learning_rate": "none",
    "learning_rates": "none",
    "trained": "parameters",
    "accumulation": "batches",
    "longer": "ratio",
    "sequence": "tokens",
    **dict.fromkeys(("seeds", "reached", "evaluations", "passages"), COUNT),
    "concurrency": "users",
    "cv": "ratio",
    "spread": "none",
    "share": "fraction of the requests",
}
"""Units of numbers whose names do not end in one."""
OF_PARTS = {
    "Verdict": {"ratio": "ratio", "low": "ratio", "high": "ratio", "margin": LESS_1},
    "Uncertainty": dict.fromkeys(
        ("tick", "tick_bound", "edges", "repeats", "gain", "total", "expanded"), FRACTION
    ),
    "Operator": {"calls": COUNT},
    "Profiled": dict.fromkeys(("calls", "multiplications", "elements"), COUNT),
}
"""Likewise, of one part alone."""
SOURCES = {
    "SolvedItem.index": "the task's data",
    "SolvedItem.group": "`measured:count`",
    "SolvedTask.shots": "set",
    "Reply.energy_j": "as its window's joules",
    "Reply.grades": "`measured:score`",
    "EngineFacts.probe": "`measured:score`",
    "Window.residual": "computed from the joules of both meters",
    "Promise": "the technique's claim",
    "Trace": "the device's sensors",
    "AppliedTechnique.touched": "computed from the weights before and after",
    "Settling.slopes": "computed from the last readings",
    "Stopping": "computed from the blocks",
    "Stopping.target_half_width": "set",
    "Stopping.limit": "set",
    "Stopping.needed": "computed from the first blocks",
    "Place.unit": "`measured:count`",
    "Place.position": "drawn with the run's seed",
    "Place.load": "set, or found by the sweep",
    "LoadPoint.load": "set, or found by the sweep",
    "LoadCurve.headline": "set, or found by the sweep",
    "Traffic.busy": "`measured:clock`",
    "Gauges": "the server's own account",
    "Gauges.step_s": "`measured:clock`",
    "Course.target_loss": "`measured:score`",
    "Course.to_target_j": "computed from the joules and losses",
    "Course.seed": "set",
    "Profile.tokens": "set",
    "Point.loss": "`measured:score`",
    "Point.energy_j": "as its windows' joules",
    "Trial.loss": "`measured:score`",
    "Trial.energy_j": "as its window's joules",
    "Trial.learning_rate": "set",
    "Facts": "set by the recipe",
    "Facts.trained": "`measured:count`",
    "Item": "`measured:score`",
    "Item.index": "the task's data",
    "Item.weight": "the task's data",
}
"""Where numbers come from whose unit does not tell, by part and field or by part."""
ROOMS_OF_SETTINGS = {"greenbench.schema.spec", "greenbench.schema.resolved"}
NAMES = {
    "name": "What it goes by.",
    "n": "How many observations are behind it.",
    "start_s": "Seconds from the run's start, on the worker's monotonic clock.",
    "end_s": "Likewise.",
}
"""What a name means wherever it stands."""
COMPUTED = {"greenbench.schema.uncertainty", "greenbench.schema.verdict"}


class Entry(NamedTuple):
    """One field of a record."""

    name: str
    type: str
    unit: str
    source: str
    """Where it comes from: a provenance, or whoever sets or computes it."""
    meaning: str
    """Empty where the code does not say."""


def record() -> type[BaseModel]:
    """The root of all parts."""
    from greenbench.schema.record import Record

    return Record


def parts(root: type) -> list[type]:
    """`root` and every class that its fields hold, each once, in the order in which they appear."""
    found = [root]
    for cls in found:  # grows meanwhile
        for hint in hints(cls).values():
            found += [inner for inner in dict.fromkeys(classes(hint)) if inner not in found]
    return found


def hints(cls: type) -> dict[str, Any]:
    """Its fields and their types, those that it inherits included."""
    if issubclass(cls, BaseModel):
        return {name: field.annotation for name, field in cls.model_fields.items()}
    known = typing.get_type_hints(cls)
    names = getattr(cls, "_fields", None) or [field.name for field in dataclasses.fields(cls)]
    return {name: known[name] for name in names}


def classes(hint: Any) -> Iterator[type]:
    """The classes with fields that a type speaks of."""
    for inner in (hint, *get_args(hint)):
        if inner is hint and isinstance(hint, type) and has_fields(hint):
            yield hint
        elif inner is not hint:
            yield from classes(inner)


def has_fields(cls: type) -> bool:
    """Whether a class is a part of a record, with fields of its own."""
    return (
        dataclasses.is_dataclass(cls)
        or hasattr(cls, "_fields")
        or (isinstance(cls, type) and issubclass(cls, BaseModel))
    )


def meanings(cls: type) -> dict[str, str]:
    """What stands below each field of a class, or of one that it inherits from or mirrors.

    What a record keeps of a spec mirrors it: ``ResolvedTask`` is a ``TaskSpec`` as it turned out.
    """
    from greenbench.schema import spec

    stem = cls.__name__.removeprefix("Resolved").removesuffix("Facts")
    mirrored = getattr(spec, "RunSpec" if stem == "Spec" else f"{stem}Spec", None)
    found = meanings(mirrored) if mirrored not in (None, cls) else {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("greenbench"):
            node = _class(Path(inspect.getfile(base)), base.__name__)
            found |= dict(_described(node.body))
    return found


def implied(name: str, hint: Any) -> str:
    """What a field means by its name or type alone: what stands below the type, or in it."""
    if share := re.fullmatch(r"p(\d+)_s", name):
        return f"{share[1]} % of them take no longer."
    if name in NAMES:
        return NAMES[name]
    for module, alias, words in _sets():
        if words == get_args(hint):
            return dict(_described(ast.parse(Path(module.__file__).read_text()).body)).get(
                alias, ""
            )
    part = next((cls for cls in classes(hint) if cls.__name__ != "Quantity"), None)
    return (inspect.getdoc(part) or "").partition("\n\n")[0].replace("\n", " ") if part else ""


def _class(path: Path, name: str) -> ast.ClassDef:
    tree = ast.parse(path.read_text())
    return next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


def _described(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """The names that are followed by a text, and the text."""
    for field, below in pairwise(body):
        text = below.value if isinstance(below, ast.Expr) else None
        if isinstance(field, (ast.AnnAssign, ast.Assign)) and isinstance(text, ast.Constant):
            target = field.target if isinstance(field, ast.AnnAssign) else field.targets[0]
            yield ast.unparse(target), " ".join(str(text.value).split())


def entries(cls: type) -> list[Entry]:
    """The fields of a part."""
    texts, words = meanings(cls), aliases()
    return [
        Entry(
            name,
            spelt(hint, words),
            unit := _unit(cls, name, hint),
            _source(cls, name, hint, unit),
            texts.get(name) or implied(name, hint),
        )
        for name, hint in hints(cls).items()
    ]


def _unit(cls: type, name: str, hint: Any) -> str:
    if _holds(hint, "Quantity"):
        return "its `unit`"
    if not {int, float} & set(_leaves(hint)):
        return ""
    told = OF_PARTS.get(cls.__name__, {}).get(name) or OF_NAMES.get(name)
    return told or next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def _source(cls: type, name: str, hint: Any, unit: str) -> str:
    holds_quantity = _holds(hint, "Quantity")
    is_number = bool({int, float} & set(_leaves(hint)))
    told = SOURCES.get(f"{cls.__name__}.{name}") or (is_number and SOURCES.get(cls.__name__))
    rules = (
        (cls.__module__ in ROOMS_OF_SETTINGS, "set"),
        (told and not holds_quantity, told),
        (cls.__module__ in COMPUTED, "computed"),
        (holds_quantity, "its `provenance`"),
        (unit == "J" or cls.__name__ == "Quantity", "the `provenance` beside it"),
        (unit in FROM, f"`{FROM.get(unit)}`"),
    )
    return next((str(words) for holds, words in rules if holds), "")


def _holds(hint: Any, name: str) -> bool:
    return any(cls.__name__ == name for cls in classes(hint))


def _leaves(hint: Any) -> Iterator[Any]:
    inner = get_args(hint)
    if not inner or get_origin(hint) is Literal:
        yield hint
    for each in inner if get_origin(hint) is not Literal else ():
        yield from _leaves(each)


def _sets() -> Iterator[tuple[Any, str, tuple[str, ...]]]:
    """The closed sets of words that records use: where they are defined, their names, the words."""
    from greenbench.schema import codes, difficulty, profile, quantity, record, verdict, window

    for module in (quantity, codes, verdict, difficulty, window, profile, record):
        for node in ast.parse(Path(module.__file__).read_text()).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            value = getattr(module, target.id, None) if isinstance(target, ast.Name) else None
            if get_origin(value) is Literal:
                yield module, target.id, get_args(value)


def aliases() -> dict[tuple[str, ...], str]:
    """The names of the closed sets, by their words."""
    return {words: name for _, name, words in _sets()}


def spelt(hint: Any, words: Mapping[tuple[str, ...], str]) -> str:
    """A type in words, with links to the parts and words that it names."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        name = words.get(inner)
        return f"[{name}](#{name.lower()})" if name else ", ".join(f"`{word}`" for word in inner)
    if origin in (typing.Union, types.UnionType):
        some = [spelt(each, words) for each in inner if each is not type(None)]
        return " or ".join(some) + (" or null" if type(None) in inner else "")
    if origin in (list, tuple, set, frozenset):
        return f"list of {spelt(inner[0], words)}"
    if origin is not None and len(inner) == 2:
        return f"object: {spelt(inner[1], words)} by {spelt(inner[0], words)}"
    return _plain(hint)


def _plain(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    if isinstance(hint, type) and has_fields(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any"}
    return plain.get(hint, f"`{getattr(hint, '__name__', hint)}`")


def record_page() -> str:
    """Every part of a record with its fields, and the closed sets of words."""
    sections = [_part(cls) for cls in parts(record())]
    lists = [
        f"### {name}\n\n" + "\n".join(f"- `{word}`" for word in words) + "\n"
        for words, name in sorted(aliases().items(), key=lambda item: item[1])
    ]
    return "\n".join([*sections, "## Words\n", *lists])


def _part(cls: type) -> str:
    head = "| field | type | unit | where from | meaning |\n|---|---|---|---|---|\n"
    rows = "".join(
        f"| `{e.name}` | {e.type} | {e.unit or '—'} | {e.source or '—'} | {cell(e.meaning)} |\n"
        for e in entries(cls)
    )
    return f"## {cls.__name__}\n\n{markdown(inspect.getdoc(cls) or '')}\n\n{head}{rows}"


def cell(text: str) -> str:
    return markdown(text).replace("|", "\\|").replace("\n", " ")


def markdown(text: str) -> str:
    """A docstring's reStructuredText, as far as ours goes, as markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)
