"""The rooms' classes by name.

A technique, an engine or a meter is one class in one file, with ``name = "..."`` and ``summary =
"..."`` in its body. Both are read from the source, so that telling what there is imports nothing. A
plug-in is a package with an entry point, in the group that is called like the room here, that names
a module of it or the package itself; files of values may lie in the ``conf`` folder of that package.

What is broken is known by name too, with its fault, so that it hinders nobody who does not ask for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from greenbench.errors import UserError
from greenbench.plugins.check import imported
from greenbench.plugins.finding import KINDS, Told, sources, told

ROOMS = tuple(KINDS)


class Named(NamedTuple):
    """A class that can be had by name, not imported yet."""

    name: str
    summary: str
    module: str
    cls: str
    path: Path | None
    plugin: str | None
    """What brings it, in words; null for what comes with GreenBench."""
    room: str
    fault: str | None = None
    """One sentence on why it cannot be had, if so."""

    def load(self) -> type:
        """The class. Raises UserError, one sentence, where its plug-in is broken."""
        if self.fault:
            raise UserError(self.fault)
        if self.plugin is None:
            cls: type = getattr(importlib.import_module(self.module), self.cls)
            return cls
        return imported(self.plugin, self.module, self.cls, self.room)


class Room(dict[str, Named]):
    """The classes of a room and of its plug-ins, by name."""

    faults: Sequence[str] = ()
    """A sentence on each that is broken."""
    rivals: Mapping[str, str] = {}  # it is not written to
    """Names of GreenBench's own classes that a plug-in's class has too, each with the sentence on it."""


@cache
def named(room: str) -> Room:
    """All classes of `room`, such as ``greenbench.techniques``, and of its plug-ins, by name."""
    kind = room.rpartition(".")[2].removesuffix("s")
    found = [
        _named(each, None, kind, room) for each in told(room, sources(room), all_of_them=False)
    ]
    for plugin in entry_points(group=room):
        found += _of_plugin(plugin, kind, room)
    once = {
        (each.module, each.cls): each for each in reversed(found)
    }  # named by several entry points
    return _settled(kind, list(once.values())[::-1])


@cache
def conf_folders() -> tuple[Path, ...]:
    """The ``conf`` folders of the plug-ins' packages."""
    return tuple(dict.fromkeys(_conf_folders()))


def _conf_folders() -> Iterator[Path]:
    values = {plugin.value for room in ROOMS for plugin in entry_points(group=room)}
    for name in sorted({value.partition(":")[0].partition(".")[0].strip() for value in values}):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            continue  # `named` says so
        if spec and spec.origin:
            yield Path(spec.origin).parent / "conf"


def _of_plugin(plugin: EntryPoint, kind: str, room: str) -> list[Named]:
    """What a plug-in brings, or its fault under its own name."""
    brings = f"{kind} plug-in {plugin.name}"
    try:
        files = sources(plugin.module)
        found = [_named(each, brings, kind, room) for each in told(room, files, all_of_them=True)]
        why = (
            f"brings no {kind}: no class in {files[0][1]} has both name = ... and summary = ... in its "
            "body; write them, or let the entry point name the module that has it"
        )
    except SyntaxError as error:
        found, why = (
            [],
            f"is no Python ({error.msg}, {error.filename}, line {error.lineno}): mend it",
        )
    except (ImportError, ValueError, OSError, AttributeError) as error:
        found, why = [], f"cannot be found ({plugin.value}: {error}): reinstall or remove it"
    if found:
        return found
    fault = f"The {brings} {why}."
    return [Named(plugin.name, "", plugin.value, "", None, brings, room, fault)]


def _named(told: Told, plugin: str | None, kind: str, room: str) -> Named:
    brings = plugin or f"{kind} of GreenBench"
    fault = f"The {brings}: the class {told.cls} in {told.path} {told.flaw}." if told.flaw else None
    name = told.name or f"{brings.rpartition(' ')[2]}:{told.cls}"
    return Named(name, told.summary, told.module, told.cls, told.path, plugin, room, fault)


def _settled(kind: str, found: Sequence[Named]) -> Room:
    """One class for each name. What two plug-ins claim, neither gets; what is ours stays ours."""
    room, faults, rivals = Room(), [each.fault for each in found if each.fault], {}
    for name in sorted({each.name for each in found}):
        alike = [each for each in found if each.name == name]
        whole = [each for each in alike if not each.fault] or alike[:1]
        own = [each for each in whole if each.plugin is None]
        kept = (own or whole)[0]
        if len(whole) > 1:
            fault = _same_name(kind, whole)
            faults.append(fault)
            if len(own) == 1:
                rivals[name] = fault
            else:
                kept = kept._replace(fault=fault)
        room[name] = kept
    room.faults, room.rivals = faults, rivals
    return room


def _same_name(kind: str, some: Sequence[Named]) -> str:
    places = " and ".join(
        f"{each.cls} in {each.path} ({each.plugin or 'GreenBench itself'})" for each in some
    )
    return f"The {kind} {some[0].name} is {len(some)} classes, {places}: rename one of them."
