"""All words that an override may hold, so that a shell can complete them; no technique is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from greenbench.campaign.catalog import GROUPS, classes, comment, experiments, options
from greenbench.campaign.invocation import BenchSpec
from greenbench.plugins.finding import knobs

EXPERIMENTS = "experiments"
DEVICES = ("auto", "cpu", "cuda", "cuda_all")


@cache
def keys() -> dict[str, Sequence[str]]:
    """Every key of a run, as in ``workload.batch_size``, with the values it takes where those have names."""
    return dict(_keys(BenchSpec, "")) | {"device": DEVICES}


def _keys(kind: Any, within: str) -> Iterator[tuple[str, Sequence[str]]]:
    hints = get_type_hints(kind)
    for knob in fields(kind):
        hint, key = hints[knob.name], f"{within}{knob.name}"
        if is_dataclass(hint):
            yield from _keys(hint, f"{key}.")
        elif key not in GROUPS:
            yield key, _values(hint)


def _values(hint: Any) -> Sequence[str]:
    if hint is bool:
        return "true", "false"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(member.value) for member in hint]
    return [value for part in get_args(hint) for value in _values(part)]


def completions(begun: str, beside: Sequence[Path] = ()) -> dict[str, str]:
    """The words that `begun` may become, each with a few words on it; groups may also lie in `beside`."""
    key, equals, value = begun.partition("=")
    if not equals:
        found = _first_parts(all_of_them=bool(begun), beside=beside) | dict(_knobs(begun))
    else:
        cut = max(value.rfind(mark) for mark in "[,") + 1  # of a list or a sweep, its last
        known = _choices(key.removeprefix("+"), beside)
        taken = value[:cut].strip("[").split(",")
        found = {f"{key}={value[:cut]}{n}": said for n, said in known.items() if n not in taken}
    return {word: said for word, said in found.items() if word.startswith(begun)}


def _first_parts(*, all_of_them: bool, beside: Sequence[Path]) -> dict[str, str]:
    """What stands before a value; keys in groups only where `all_of_them` are wanted, as they are many."""
    groups = {f"{group}=": "group" for group in GROUPS}
    own = {
        f"+{path.name}=": f"group of {folder}"
        for folder in beside
        for path in folder.glob("*")
        if path.is_dir() and path.name not in GROUPS
    }
    plain = {f"{key}=": "key" for key in keys() if all_of_them or "." not in key}
    return groups | own | plain | {f"+{EXPERIMENTS}=": "sweeps that come with GreenBench"}


def _knobs(begun: str) -> Iterator[tuple[str, str]]:
    """Those of techniques and engines, as their sources say; only of what `begun` may be."""
    for group, within in (("technique", "technique.{}."), ("engine", "engine.")):
        for known in classes(group).values() if begun.startswith(f"{group}.") else ():
            prefix = within.format(known.name)
            if known.path and (prefix.startswith(begun) or begun.startswith(prefix)):
                for knob in knobs(known.path, known.cls):
                    yield f"{prefix}{knob}=", f"knob of {known.name}"


def _choices(key: str, beside: Sequence[Path]) -> dict[str, str]:
    """What may stand behind ``key=``."""
    if key == EXPERIMENTS:
        known = {name: comment(path) for name, path in experiments().items()}
        return known | options(key, beside)
    return dict.fromkeys(keys().get(key, ()), "") or options(key, beside)
