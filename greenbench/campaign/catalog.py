"""What can be asked for by name: the options of each group, and the sweeps that come along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from greenbench.errors import UserError
from greenbench.paths import conf_dir
from greenbench.plugins import Named, conf_folders, named

GROUPS = ("model", "technique", "engine", "task", "workload", "meter", "protocol")
STOP = re.compile(r"[.:;](?: |$)")
COMMENT = re.compile(r"#(?! *@package)(.*)")


def experiments() -> dict[str, Path]:
    """The files of the sweeps that come with GreenBench, by name."""
    return {path.stem: path for path in sorted((conf_dir().parent / "experiments").glob("*.yaml"))}


def options(group: str, beside: Sequence[Path] = ()) -> dict[str, str]:
    """The options of a group, each with a few words on it; nothing is imported for it.

    They are the classes of that kind, and the files of values here, in plug-ins and in the folders
    `beside`.
    """
    summaries = {name: known.summary for name, known in classes(group).items()}
    for path in _files(group, beside):
        summaries[path.stem] = comment(path) or summaries.get(path.stem, "")
    return dict(sorted(summaries.items()))


def classes(group: str) -> dict[str, Named]:
    """The classes that are options of a group by themselves, from their own defaults."""
    return named(f"greenbench.{group}s") if group in ("technique", "engine") else {}


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
