"""Whether a call of ``greenbench bench`` asks for the run that a spec is, as far as its words tell.

What it leaves out is not looked at, and of tasks, workloads, meters and protocols only the name of the file
of values is: these choose no code. Each key that it sets must say what the spec says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isclose
from typing import Any, Final, NamedTuple

import yaml

from greenbench.paths import conf_dir
from greenbench.plugins import conf_folders
from greenbench.records.values import value_of
from greenbench.schema.resolved import ResolvedSpec

CHOSEN: Final = ("model", "technique", "engine")
GROUPS: Final = (*CHOSEN, "task", "workload", "meter", "protocol")
EXPERIMENTS: Final = "experiments"
OPTION: Final = re.compile(r"\w[\w.-]*", re.ASCII)
NOT_KEPT: Final = ("allow_partial", "task.include_path")
"""Keys that no spec keeps, and that let no code run: where tasks lie, and techniques that reach little."""
PLACES: Final = ("model.path", "load.trace", "meter.wall_log")
"""What is there stands in the spec by its content, as the place is private."""
LABELS: Final = ("model.name", "model.license", "model.note")
"""A model goes by them, and they choose none."""
SPOKEN: Final = dict.fromkeys(("true", "yes", "y", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "n", "off", "0"), False
)
"""Truths, as an override may write them."""
PARTS: Final = frozenset(ResolvedSpec.model_fields) - {"inputs"}
MISSING: Final = object()


def asks_for(words: Sequence[str], spec: ResolvedSpec) -> bool:
    """Whether the overrides `words` agree with `spec`."""
    try:
        said = [(key, value_of(text)) for key, _, text in (word.partition("=") for word in words)]
        return _Call(frozenset(key for key, _ in said), _known(spec, words)).agrees(said)
    except (ValueError, OverflowError, RecursionError):
        return False


class _Call(NamedTuple):
    """All that a call says, held against all that a spec knows."""

    keys: frozenset[str]
    known: Mapping[str, Any]

    def agrees(self, said: Sequence[tuple[str, Any]]) -> bool:
        """Whether each override does."""
        return all(self._says(key, value) for key, value in said)

    def _says(self, key: str, value: Any) -> bool:
        if _is_added(key):
            return self._adds(key[1:], value)
        key = key.removeprefix("+")  # of a key that each run has, it changes nothing
        if key in GROUPS and not isinstance(value, dict):
            return self._chooses(key, value)
        return self._sets(key, value)

    def _adds(self, group: str, option: Any) -> bool:
        """A group that no run has by itself, such as ``+experiments``: what it chooses must be the spec's."""
        if not isinstance(option, str) or not OPTION.fullmatch(option):
            return False
        content = _content(group, option) or {}
        chosen = {
            str(name).removeprefix("override ").lstrip("/"): each
            for entry in _listed(content.get("defaults"))
            if isinstance(entry, dict)
            for name, each in entry.items()
        }
        return all(
            (group in self.keys or group not in chosen or self._chooses(group, chosen[group]))
            and self._holds(group, content.get(group))
            for group in CHOSEN
        )

    def _chooses(self, group: str, option: Any) -> bool:
        options = option if group == "technique" and isinstance(option, list) else [option]
        if not all(isinstance(each, str) and OPTION.fullmatch(each) for each in options):
            return False
        if group == "technique":
            names = [name for each in options for name in _names(group, each)]
            return names == [*self.known[group]] and all(
                self._holds(group, _knobs(_content(group, each))) for each in options
            )
        if group == "engine":
            is_it = _names(group, option) == [self.known[group]["name"]]
            return is_it and self._holds(group, _content(group, option))
        content = _content(group, option) if group == "model" else {}
        if content is None:
            return bool(option == self.known["model"]["name"])
        return self._holds("model", content)

    def _holds(self, key: str, content: Any) -> bool:
        """Whether what a file of values says is the spec's, but for what the call says otherwise itself."""
        if key in self.keys and key not in GROUPS:
            return True
        if isinstance(content, dict) and (key in GROUPS or isinstance(_at(self.known, key), dict)):
            return all(
                self._holds(f"{key}.{name}", each)
                for name, each in content.items()
                if name != "defaults"
            )
        below = any(each.startswith(f"{key}.") for each in self.keys)
        return below or content is None or key in LABELS or self._sets(key, content)

    def _sets(self, key: str, value: Any) -> bool:
        """Whether the spec says `value` of `key`."""
        if key == "device":
            kind = re.split(r"[:_]", str(value))[0]
            return kind in ("auto", self.known["device"]["kind"])
        if key in NOT_KEPT:
            return isinstance(value, str | bool | None)
        found = _at(self.known, key)
        if key in PLACES:
            return (value is None) == (not found)
        if key == "task.names":
            names = [str(name) for name in value] if isinstance(value, list) else []
            return [*dict.fromkeys(map(_last, names))] == [*map(_last, found)]
        if value is None and key.startswith(("technique.", "engine.")):
            return found is not MISSING  # null leaves it to the machine: the spec has what that was
        return _same(value, found)


def _known(spec: ResolvedSpec, words: Sequence[str]) -> dict[str, Any]:
    """What of `spec` the call is about, by key as overrides name them."""
    roots = {re.split(r"[=.]", word.lstrip("+"))[0] for word in words}
    if not roots <= PARTS:  # a group that is added may choose any of these
        roots |= {*CHOSEN}
    known = spec.model_dump(mode="json", include=roots & PARTS)
    if "technique" in known:
        known["technique"] = {each["name"]: each for each in known["technique"]}
    return {**known, "twins": spec.device.uuids is not None}


def _is_added(key: str) -> bool:
    """Whether it is a group of files that no run has by itself: experiments, or a plug-in's."""
    group = key.removeprefix("+")
    if group == key or group.partition("/")[0] in PARTS:
        return False
    return group == EXPERIMENTS or any((folder / group).is_dir() for folder in conf_folders())


def _at(known: Mapping[str, Any], key: str) -> Any:
    found: Any = known
    for name in key.split("."):
        found = found.get(name, MISSING) if isinstance(found, dict) else MISSING
    return found


def _same(said: Any, found: Any) -> bool:
    """Whether both are one value, in the types that a spec's fields take."""
    match found:
        case bool():
            return SPOKEN.get(str(said).lower()) is found
        case int() | float():
            return not isinstance(said, bool | None | list | dict) and isclose(float(said), found)
        case str():
            return isinstance(said, str | bool | int | float) and _is_named(str(said), found)
        case list():
            return (
                isinstance(said, list) and len(said) == len(found) and all(map(_same, said, found))
            )
        case dict():
            return isinstance(said, dict) and all(
                _same(value, found.get(name, MISSING)) for name, value in said.items()
            )
    return found is None and said is None


def _is_named(said: str, found: str) -> bool:
    """Whether it is that text, or the place or the hub's name that the spec has as ``NAME@HASH``."""
    name = found.rpartition("@")[0]
    local = "/" not in name and (said.startswith(("~", "/", ".")) or "/" not in said)
    return said == found or (bool(name) and (said == name or (local and _last(said) == name)))


def _last(place: str) -> str:
    return place.rpartition("/")[2]


def _names(group: str, option: str) -> list[str]:
    """The classes that an option of `group` stands for, by name."""
    content = _content(group, option)
    if content is None:
        return [] if option == "none" else [option]
    listed = [str(each) for each in _listed(content.get("defaults")) if each != "_self_"]
    return [
        name
        for each in listed
        for name in (
            [each.removeprefix("schema/")] if each.startswith("schema/") else _names(group, each)
        )
    ]


def _knobs(content: dict[str, Any] | None) -> dict[str, Any]:
    return {name: each for name, each in (content or {}).items() if isinstance(each, dict)}


def _listed(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list) else ()


@lru_cache(maxsize=256)
def _content(group: str, option: str) -> dict[str, Any] | None:
    """The file of values that an option names here; null where there is none: a class, or unknown here."""
    root = conf_dir()
    for folder in (root, root.parent, *conf_folders()):
        try:
            text = (folder / group / f"{option}.yaml").read_text(encoding="utf-8")
            content = yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        return content if isinstance(content, dict) else {}
    return None
