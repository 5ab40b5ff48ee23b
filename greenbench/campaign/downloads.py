"""What a hub gives, before the first run: how much it is, and fetched outside any run's time limit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from greenbench.errors import UserError
from greenbench.models import files
from greenbench.quality.tasks.hub_data import data_sets, missing_bytes
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec, RunSpec
from greenbench.wording import number

SPARE_BYTES = 1 << 30
"""That a download must leave free."""


class Download(NamedTuple):
    """What a hub gives, and how much of it is not here yet."""

    name: str
    bytes: int | None
    """Null where the hub does not say."""
    bring: Callable[[], object] = lambda: None


def announce(specs: Iterable[RunSpec], say: Callable[[str], None]) -> None:
    """Say which data sets of tasks a hub will give, and how much that is: they come as tasks are read.

    Raises UserError where they do not fit.
    """
    wanted = data_sets(spec.task for spec in specs)
    asked = [
        Download(f"data set {each.id}", missing_bytes(each, of)) for each, of in wanted.items()
    ]
    if missing := [found for found in asked if found.bytes != 0]:
        _require_room(missing, say)


def fetch(specs: Sequence[RunSpec], say: Callable[[str], None]) -> None:
    """Bring the models that `specs` and their techniques need from a hub here, and kernels.

    Raises UserError, before the first is fetched, where a model cannot be had or all do not fit. A kernel
    that cannot be had is told, as its runs are refused; it raises where no other run is left.
    """
    models, faults = _asked(_models(specs))
    kernels, lacking = _asked(_kernels(specs))
    if faults:
        raise UserError(" ".join(dict.fromkeys([*faults.values(), *lacking.values()])))
    _require_left(specs, lacking)
    missing = [found for found in (*models, *kernels) if found.bytes != 0]
    if missing:
        _require_room(missing, say)
    for found in missing:
        try:
            found.bring()  # the hub's library shows how far it is
        except UserError as error:
            if found not in kernels:
                raise
            lacking[found.name] = str(error)  # it may have builds, and none for this torch
        else:
            say(f"fetched {found.name}")
    _require_left(specs, lacking)
    for said in lacking.values():
        say(said)


def foretold(specs: Sequence[RunSpec]) -> Iterator[str]:
    """What `fetch` would bring, or why it could not, in a sentence each; nothing where all is here."""
    found, faults = _asked([*_models(specs), *_kernels(specs)])
    if missing := [each for each in found if each.bytes != 0]:
        yield _told(missing)
    yield from dict.fromkeys(faults.values())


def unreachable(specs: Sequence[RunSpec]) -> list[str]:
    """Why models that `specs` and their techniques need cannot be had, in a sentence each."""
    return list(_asked(_models(specs))[1].values())


class Wanted(NamedTuple):
    """What runs need of a hub."""

    name: str
    ask: Callable[[], int | None]
    """How much of it is not here yet."""
    bring: Callable[[], object]


def _models(specs: Iterable[RunSpec]) -> list[Wanted]:
    """Each once."""
    known: dict[tuple[str | None, str | None], ModelSpec] = {}
    for spec in specs:
        for model in (spec.model, *_beside(spec)):
            if model.source is Source.hub:
                known.setdefault((model.id, model.revision), model)
    return [
        Wanted(str(model.id), partial(files.missing_bytes, model), partial(files.directory, model))
        for model in known.values()
    ]


def _beside(spec: RunSpec) -> Iterator[ModelSpec]:
    for technique in spec.technique.values():
        yield from technique.models()


def _kernels(specs: Iterable[RunSpec]) -> list[Wanted]:
    """Each once; where the package is missing that loads them, their runs are refused."""
    names = dict.fromkeys(name for spec in specs for name in _named(spec))
    if not names:
        return []
    from greenbench.engines.transformers import (
        hub_kernels,
    )  # torch, which composing a run needs not

    if hub_kernels.lacking():
        return []
    return [
        Wanted(name, partial(hub_kernels.missing_bytes, name), partial(hub_kernels.fetch, name))
        for name in names
    ]


def _named(spec: RunSpec) -> list[str]:
    """The kernels that its techniques name."""
    return [name for technique in spec.technique.values() for name in technique.kernels()]


def _require_left(specs: Sequence[RunSpec], lacking: Mapping[str, str]) -> None:
    """Raise UserError where each run needs one of the kernels that are `lacking`."""
    if lacking and all(lacking.keys() & _named(spec) for spec in specs):
        raise UserError(" ".join(dict.fromkeys(lacking.values())))


def _asked(wanted: Iterable[Wanted]) -> tuple[list[Download], dict[str, str]]:
    """What can be had, and for each that cannot a sentence, by its name."""
    found, faults = [], {}
    for each in wanted:
        try:
            found.append(Download(each.name, each.ask(), each.bring))
        except UserError as error:
            faults[each.name] = str(error)
    return found, faults


def _require_room(missing: list[Download], say: Callable[[str], None]) -> None:
    """Say what comes. Raises UserError where the disk has no room for it."""
    total, free = sum(found.bytes or 0 for found in missing), _free_bytes()
    say(_told(missing))
    if total + SPARE_BYTES > free:
        raise UserError(
            f"What is to be downloaded is {_size(total)}, and {_size(free)} are free for the hub's cache: "
            "free some space, or say by HF_HOME where there is more."
        )


def _told(missing: Iterable[Download]) -> str:
    parts = ", ".join(f"{found.name} {_size(found.bytes)}" for found in missing)
    return f"to download first: {parts}; {_size(_free_bytes())} are free for the hub's cache"


def _free_bytes() -> int:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    there = next(folder for folder in (place, *place.parents) if folder.is_dir())
    return shutil.disk_usage(there).free


def _size(size: int | None) -> str:
    if size is None:
        return "of unknown size"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{number(size / 1e6)} MB"
