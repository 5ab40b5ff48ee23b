"""The run's model in a form that somebody else has made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from greenbench.analysis.roofline import SIZES
from greenbench.engines.engine import Build
from greenbench.models import files, tensors
from greenbench.models.packing import packing
from greenbench.run.same_tokens import require_one_vocabulary
from greenbench.run.workbench import Place
from greenbench.schema.technique import Promise
from greenbench.techniques.replacement import Replacement


def replaced(technique: Replacement, build: Build, place: Place) -> Build:
    """`build` with the technique's checkpoint in place of the plain one; the tokenizer stays the model's.

    What its weights say in process is not known, so that it is not held against that.
    """
    model = technique.of(place.base.model)
    path = files.directory(model)
    given = replace(build, model=model, directory=path)
    require_one_vocabulary(f"technique.{technique.name}", given, place.base)
    return replace(build, model=model, form="safetensors", source=path, expected=None)


def promised(technique: Replacement, place: Place) -> Promise:
    """What its files say that it saves: their bytes, over those of the plain model as that is held."""
    said = told(replace(place.base, source=files.directory(technique.of(place.base.model))))
    plain = tensors.held_bytes(
        files.weights(place.base.directory), SIZES[place.base.model.dtype.value]
    )
    return Promise(
        bytes_ratio=said["file_bytes"] / plain, note=f"the maker's files: {said['packed']}"
    )


def told(build: Build) -> dict[str, Any]:
    """What the checkpoint of `build` says of itself: how its weights are packed, and their files' bytes."""
    place = Path(build.source)
    said = json.loads((place / "config.json").read_text())
    held = sum(file.stat().st_size for file in files.weights(place))
    return {"packed": packing(said) or "not packed", "file_bytes": held}
