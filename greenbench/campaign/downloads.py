"""What a hub gives, before the first run: how much it is, and fetched outside any run's time limit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from greenbench.errors import UserError
from greenbench.models import files
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec, RunSpec
from greenbench.wording import number

SPARE_BYTES = 1 << 30
"""That a download must leave free."""


class Download(NamedTuple):
    """A hub's model, and how much of it is not here yet."""

    model: ModelSpec
    bytes: int


def fetch(specs: Iterable[RunSpec], say: Callable[[str], None]) -> None:
    """Bring the models that `specs` and their techniques need from a hub here.

    Raises UserError, before the first is fetched, where any of them cannot be had or all do not fit.
    """
    missing = [found for found in _asked(_models(specs)) if found.bytes]
    if not missing:
        return
    _require_room(missing, say)
    for found in missing:
        files.directory(found.model)  # the hub's library shows how far it is
        say(f"fetched {found.model.id}")


def _models(specs: Iterable[RunSpec]) -> list[ModelSpec]:
    """Each once."""
    known: dict[tuple[str | None, str | None], ModelSpec] = {}
    for spec in specs:
        for model in (spec.model, *_beside(spec)):
            if model.source is Source.hub:
                known.setdefault((model.id, model.revision), model)
    return list(known.values())


def _beside(spec: RunSpec) -> Iterator[ModelSpec]:
    for technique in spec.technique.values():
        yield from technique.models()


def _asked(models: Iterable[ModelSpec]) -> list[Download]:
    """Raises UserError with a sentence for each that cannot be had."""
    found, faults = [], []
    for model in models:
        try:
            found.append(Download(model, files.missing_bytes(model)))
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError(" ".join(dict.fromkeys(faults)))
    return found


def _require_room(missing: list[Download], say: Callable[[str], None]) -> None:
    """Say what comes. Raises UserError where the disk has no room for it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    total, place = sum(found.bytes for found in missing), Path(HF_HUB_CACHE)
    there = next(folder for folder in (place, *place.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    parts = ", ".join(f"{found.model.id} {_size(found.bytes)}" for found in missing)
    say(f"to download first: {parts}; {_size(free)} are free for the hub's cache")
    if total + SPARE_BYTES > free:
        raise UserError(
            f"The models to download are {_size(total)}, and {_size(free)} are free for the hub's cache: "
            "free some space, or say by HF_HOME where there is more."
        )


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{number(size / 1e6)} MB"
