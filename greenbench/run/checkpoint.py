"""The files that a model was measured from: known by their content, and kept for `make` to leave."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from greenbench.engines.engine import Build, Engine
from greenbench.models import files
from greenbench.paths import cache_dir
from greenbench.techniques import ModelEdit, Technique

KEPT_BYTES = 20 << 30
"""Of all that is kept: what was used last stays."""


class Content(NamedTuple):
    """What a model was measured from."""

    checkpoint: str | None
    """Hash of the files' content."""
    reason: str | None
    """Why there is none."""


def content(build: Build, engine: Engine, stack: Sequence[Technique]) -> Content:
    """That of `build`, as `engine` reads it; `stack` has made it."""
    if build.behind is not None:
        return Content(
            None, "two models answer: greenbench make leaves the small one of its stack alone"
        )
    if build.form == "url":
        return Content(None, "the server at the URL does not show its files")
    if build.form != "module":
        return Content(files.content(engine.files(build)), None)
    if alone := in_process(stack):
        return Content(None, f"technique={alone} lives in the model's own Python code")
    return Content(
        None, "it was measured as edited in this process: greenbench make writes its files"
    )


def in_process(stack: Sequence[Technique]) -> str | None:
    """The name of a technique that leaves no files; null where all do."""
    edits = (each for each in stack if isinstance(each, ModelEdit))
    return next((each.name for each in edits if each.form == "module"), None)


def folder() -> Path:
    """Where they are kept, each in a folder named by all that it is made of."""
    return cache_dir() / "checkpoints"


def kept(recipe: str) -> Path | None:
    """The files made by `recipe`, as they were left; null where they are not there, or were changed."""
    found = folder() / recipe
    with suppress(OSError):
        (held,) = (each for each in found.iterdir() if each.name != files.SEAL)
        if (found / files.SEAL).read_text() == files.content(held):
            found.touch()
            return held
    shutil.rmtree(found, ignore_errors=True)
    return None


def keep(recipe: str, made: Path) -> None:
    """Keep `made` by its `recipe`, as far as there is room for it; it is moved."""
    found = folder() / recipe
    if _size(made) > KEPT_BYTES:
        return
    shutil.rmtree(found, ignore_errors=True)
    with suppress(OSError):  # a full disk: it can be made again
        found.mkdir(parents=True)
        held = made.replace(found / made.name)
        (found / files.SEAL).write_text(files.content(held))
        _forget_oldest()


def kept_bytes() -> int:
    """Of all that is kept."""
    return _size(folder())


def _forget_oldest() -> None:
    entries = sorted(folder().iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
    total = 0
    for entry in entries:
        total += _size(entry)
        if total > KEPT_BYTES:
            shutil.rmtree(entry, ignore_errors=True)


def _size(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in inside if each.is_file())
