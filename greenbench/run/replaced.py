"""The run's model in a form that somebody else has made of it."""

from __future__ import annotations

from dataclasses import replace

from greenbench.engines.engine import Build
from greenbench.models import files
from greenbench.run.same_tokens import require_one_vocabulary
from greenbench.run.workbench import Place
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
