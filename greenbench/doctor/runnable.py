"""Which techniques, engines, models and tasks can run here, and how each is reached; or why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from greenbench import engines
from greenbench.campaign.compose import plan
from greenbench.engines.engine import Engine
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.models.files import check
from greenbench.plugins import answerable
from greenbench.quality.tasks import check_tasks
from greenbench.run.preflight import refuse_here
from greenbench.schema.enums import Source
from greenbench.schema.spec import USUAL_ENGINE, ModelSpec, RunSpec
from greenbench.techniques.shared.compressor import versions
from greenbench.techniques.ways import way

OK = "ok"
OTHER = re.compile(r"use engine=(\w+)")
"""Which engine a refusal sends to."""


def technique(name: str, machine: Machine) -> str | None:
    """How it reaches the engines that run it here."""
    (job,) = plan([f"technique={name}"], multirun=False)
    known = _running(job.spec, machine)
    for each in job.spec.technique.values():
        each.disclosed()  # says what is missing of its own
        for model in each.models():
            if model.source is Source.hub and not (said := _cached(model)).startswith(OK):
                raise UserError(said)
    ways = (way(type(each), known) for each in job.spec.technique.values())
    return "; ".join(dict.fromkeys(ways)) or None


def _running(spec: RunSpec, machine: Machine) -> dict[str, type[Engine]]:
    """The engines that can run it here. Where there is none, raises what the one says that it is for."""
    known = {each: engines.load(each) for each, of in engines.named().items() if not of.fault}
    refused: dict[str, UserError] = {}
    for each, kind in known.items():
        try:
            refuse_here(replace(spec, engine=kind()), machine)
        except UserError as error:
            refused[each] = error
    if len(refused) == len(known):
        usual = refused[USUAL_ENGINE]
        other = OTHER.search(str(usual))
        raise refused.get(other[1], usual) if other else usual
    return {each: kind for each, kind in known.items() if each not in refused}


def compressor() -> str:
    """The version of llm-compressor, which some techniques need."""
    found = versions().get("compressor:llmcompressor")
    if found is None:
        raise UserError("its environment is not there: make compressor")
    return found


def engine(name: str, machine: Machine) -> str | None:
    """Its version, where it runs here."""
    (job,) = plan([f"engine={name}"], multirun=False)
    refuse_here(job.spec, machine)
    version: str | None = job.spec.engine.version()
    return version


def task(name: str) -> None:
    """Raises UserError."""
    (job,) = plan([f"task={name}"], multirun=False)
    check_tasks(job.spec.task)


def model(name: str) -> str:
    """Whether the model's files are here; the hub is not asked."""
    if name in ("hub", "local"):
        return f"{OK}: needs model.{'id' if name == 'hub' else 'path'}=..."
    (job,) = plan([f"model={name}"], multirun=False)
    spec = job.spec.model
    return verdict(check, spec) if spec.source is Source.wheel else _cached(spec)


def _cached(spec: ModelSpec) -> str:
    from huggingface_hub import try_to_load_from_cache

    here = try_to_load_from_cache(str(spec.id), "config.json", revision=spec.revision)
    if isinstance(here, str | Path):
        return f"{OK}: in the local hub cache"
    return f"not in the local hub cache: the first run fetches {spec.id}"


def verdict(refuse: Callable[..., object], *args: Any) -> str:
    """``ok``, with what `refuse` says; or why it refuses."""
    try:
        with answerable():
            said = refuse(*args)
    except UserError as error:
        return str(error)
    return f"{OK}: {said}" if said else OK
