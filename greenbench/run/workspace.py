"""Where a candidate is made, by all that it is made of, and kept between two turns."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from greenbench.engines.engine import Build
from greenbench.engines.transformers.load import load_module, save_module
from greenbench.models import inputs, texts
from greenbench.paths import cache_dir
from greenbench.run.workbench import Place
from greenbench.schema.spec import RunSpec
from greenbench.techniques import ModelEdit, Technique, knobs

SPARE_BYTES = 1 << 30
"""That a module's file must leave free."""


def workspace(stack: Sequence[Technique], spec: RunSpec, place: Place) -> Path:
    """Where `stack` keeps what it makes: the same for the same of all it is made of."""
    machine, engine = place.machine, place.engine
    made_of = {
        "model": place.fingerprint,
        "dtype": spec.model.dtype.value,
        "stack": [[type(t).__name__, knobs(t) | t.disclosed()] for t in stack],
        "seed": spec.seed,
        "workload": asdict(spec.workload),
        "text": texts.fingerprint(),
        "engine": [engine.name, engine.version(), repr(engine)],
        "device": [machine.device, machine.device_name],
        "packages": inputs.packages(name for t in stack for name in t.packages),
        "elsewhere": [t.versions() for t in stack],
        "plugins": inputs.plugins(*stack, engine),
    }
    return cache_dir() / "work" / inputs.key(made_of)[:16]


def kept(build: Build, stack: Sequence[Technique], folder: Path) -> Build | None:
    """`build` with its module in a file in `folder`; null where no file holds all of it, or has room.

    What is handed over as files is kept by those.
    """
    if build.form != "module":
        return build
    edits = [each for each in stack if isinstance(each, ModelEdit)]
    if build.loop is not None or not all(each.traits().keeps for each in edits):
        return None
    held = sum(each.nbytes for each in build.source.state_dict().values())
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < held + SPARE_BYTES:
        return None
    file = folder / "module.pt"
    with suppress(Exception):  # of a module that cannot be written: it is made anew
        save_module(build.source, file)
        return replace(build, source=file)
    file.unlink(missing_ok=True)
    return None


def as_made(build: Build, made: Build) -> Build:
    """`build` with what its edits left when they were `made`, so that only what comes after is done anew."""
    source = made.source
    if made.form == "module":
        source = load_module(source)
    return replace(
        build,
        form=made.form,
        source=source,
        model=made.model,
        expected=made.expected,
        uncompiled=made.uncompiled,
        scored_whole=made.scored_whole,
    )
