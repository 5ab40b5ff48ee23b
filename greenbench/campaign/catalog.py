"""What can be asked for by name: the options of each group, and the sweeps that come along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from greenbench.errors import UserError
from greenbench.paths import conf_dir
from greenbench.plugins import ROOMS, Room, conf_folders, named

GROUPS = ("model", "technique", "engine", "task", "workload", "meter", "protocol", "launcher")
STOP = re.compile(r"[.:;](?: |$)")
COMMENT = re.compile(r"#(?! *@package)(.*)")


def experiments() -> dict[str, Path]:
    """The files of the sweeps that come with GreenBench, by name."""
    return {path.stem: path for path in sorted((conf_dir().parent / "experiments").glob("*.yaml"))}


def options(group: str, beside: Sequence[Path] = ()) -> dict[str, str]:
    """The options of a group, each with a few words on it; nothing is imported for it.

    They are the classes of that kind, and the files of values here, in plug-ins and in the folders
    `beside`. Of what is broken the words are why.
    """
    known = classes(group)
    summaries = {name: f"broken: {k.fault}" if k.fault else k.summary for name, k in known.items()}
    for path in _files(group, beside):
        summaries[path.stem] = comment(path) or summaries.get(path.stem, "")
    return dict(sorted(summaries.items()))


def classes(group: str) -> Room:
    """The classes that are options of a group by themselves, from their own defaults."""
    rooms = {"technique": "techniques", "engine": "engines", "meter.order": "meters"}
    return named(f"greenbench.{rooms[group]}") if group in rooms else Room()


def faults() -> list[str]:
    """A sentence on all that is broken in plug-ins: it hinders only who asks for it."""
    of_rooms = [fault for room in ROOMS for fault in named(room).faults]
    return [*of_rooms, *(fault for group in GROUPS for fault in _hidden(group).values())]


def refuse_rivals(overrides: Sequence[str]) -> None:
    """Raise UserError for a name in `overrides` that a plug-in's class has beside what is ours."""
    for text in overrides:
        group, _, value = text.partition("=")
        rivals = {**classes(group).rivals, **_hidden(group)}
        for name in re.split(r"[][,\s]+", value):
            if name in rivals:
                raise UserError(rivals[name])


def _hidden(group: str) -> dict[str, str]:
    """The names of classes that a file of values has too, which is not one for that class."""
    return {
        path.stem: f"The {group} {path.stem} is the file {path} and the class {known.cls} in "
        f"{known.path} ({known.plugin or 'GreenBench itself'}): rename one of them."
        for path in _files(group, ())
        if (known := classes(group).get(path.stem)) is not None
        and f"schema/{path.stem}" not in path.read_text(encoding="utf-8", errors="replace")
    }


def _files(group: str, beside: Sequence[Path]) -> Iterator[Path]:
    for folder in (conf_dir(), *conf_folders(), *beside):
        yield from filter(Path.is_file, (folder / group).glob("*.yaml"))


def comment(path: Path) -> str:
    """What the comment says with which a file of values begins, up to the first stop."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as such.") from error
    words = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words += [match[1].strip()] if (match := COMMENT.match(line)) else []
    return STOP.split(" ".join(words))[0]
