"""Which run a spec is: its key, and what stands in its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from greenbench.campaign.compose import plain
from greenbench.machine.detect import Machine
from greenbench.models import corpus, files, inputs, texts
from greenbench.models.keys import labels, run_key
from greenbench.quality import tasks
from greenbench.schema.enums import Source
from greenbench.schema.resolved import Inputs, ResolvedSpec
from greenbench.schema.spec import USUAL_ENGINE, RunSpec

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine

__all__ = ["exact", "identity", "label", "labels", "run_key", "settled"]

Spec = TypeVar("Spec", bound=RunSpec)
NOTHING: Mapping[str, Any] = MappingProxyType({})


def label(spec: RunSpec) -> str:
    """The technique stack as tables show it."""
    return " + ".join(technique.label() for technique in spec.technique.values()) or "none"


def exact(spec: Spec) -> Spec:
    """`spec` with every name that may come to mean something else, as a hub's branch, said exactly.

    What it names is here then. Raises UserError where it cannot be had.
    """
    stack = {name: technique.exact() for name, technique in spec.technique.items()}
    return replace(
        spec,
        model=files.exact(spec.model),
        technique=stack,
        training=corpus.exact(spec.training),
    )


def settled(spec: Spec, machine: Machine) -> list[Spec]:
    """`spec` with the choices made that its engine leaves to model and machine: once for each reference that
    its techniques are to be measured against."""
    # what techniques are made of takes a while
    from greenbench.techniques.stack import candidate_engine, of_reference, uncompiled
    from greenbench.techniques.technique import EngineOption

    stack = list(spec.technique.values())
    if spec.trains:  # a compiled reference is of a model that serves
        why = "trains"
        *_, engine = spec.engine.settled(spec.model, machine, why, of_reference=False)
        return [replace(spec, engine=engine)]
    bar = uncompiled(stack, machine, spec)
    part = of_reference(stack) is not None
    other = candidate_engine(stack, spec.engine)
    if other is spec.engine:
        engines = spec.engine.settled(spec.model, machine, bar, of_reference=part)
        return [replace(spec, engine=engine) for engine in engines]
    engine, *_ = spec.engine.settled(spec.model, machine, None, of_reference=False)
    other, *_ = other.settled(spec.model, machine, bar, of_reference=part)
    running = {
        name: each.running(other) if isinstance(each, EngineOption) and each.other() else each
        for name, each in spec.technique.items()
    }
    return [replace(spec, engine=engine, technique=running)]


def identity(
    spec: RunSpec, machine: Machine, environment: Mapping[str, Any] = NOTHING
) -> ResolvedSpec:
    """The resolved spec: what determines the result, and nothing private.

    A path, of a model, a technique or a task, gives way to its content's hash, the device to the
    hardware's name. `environment` is what `machine.detect` says of the surroundings. Raises UserError
    for what cannot be read.
    """
    spec = exact(spec)
    stack = {name: each.settled(machine.device) for name, each in spec.technique.items()}
    spec = replace(spec, technique=stack)
    values = {
        field.name: plain(getattr(spec, field.name))
        for field in fields(RunSpec)
        if not field.metadata.get("label")
    }
    # A list, because the order of a stack matters and a JSON object has none.
    values["technique"] = [
        {"name": name, **knobs, **spec.technique[name].disclosed()}
        for name, knobs in values["technique"].items()
    ]
    values["engine"] = _engine(spec.engine)
    if spec.trains:
        values["training"]["dataset"] = corpus.named(spec.training)
    else:
        values["training"] = None
    twins = {"uuids": list(machine.uuids)} if values.pop("twins") else {}
    values["device"] = {"kind": machine.device, "name": machine.device_name, **twins}
    del values["task"]["include_path"]  # where to look, which is private
    values["meter"]["wall_log"] = spec.meter.wall_log is not None
    read = _inputs(spec, environment)
    values["task"]["names"] = list(
        read.tasks
    )  # a file of the user's by its name: its place is private
    if spec.load.trace is not None:  # its place is private
        values["load"]["trace"] = inputs.digest(Path(spec.load.trace).expanduser())
    if spec.model.source is Source.local:
        values["model"]["path"] = read.model
    return ResolvedSpec.model_validate({**values, "inputs": read})


def _inputs(spec: RunSpec, environment: Mapping[str, Any]) -> Inputs:
    """All that `spec` names or needs, as it is now."""
    return Inputs(
        model=files.fingerprint(spec.model),
        text=_text(spec),
        tasks=tasks.identities(spec.task),
        packages=_packages(spec),
        plugins=inputs.plugins(*spec.technique.values(), spec.engine, _candidates(spec)),
        machine=dict(_machine(environment)),
    )


def _text(spec: RunSpec) -> str:
    """Hash of what is read or trained on."""
    if spec.training.dataset is not None:
        return corpus.fingerprint(spec.training)
    return texts.fingerprint(spec.workload.batch_size * spec.workload.prompt_tokens)


def _engine(engine: Any) -> dict[str, Any]:
    """The engine's name and knobs."""
    if engine is None:
        return {"name": USUAL_ENGINE}
    return {"name": engine.name, **plain(engine)}


def _packages(spec: RunSpec) -> dict[str, str]:
    more = {name for technique in spec.technique.values() for name in technique.packages}
    if "zeus" in spec.meter.order:
        more.add("zeus")
    runs = {"engine": spec.engine, "candidate's engine": _candidates(spec)}
    versions = {what: engine.version() for what, engine in runs.items() if engine is not None}
    known = {what: version for what, version in versions.items() if version}
    found = inputs.packages(sorted(more)) | known
    for technique in spec.technique.values():
        found |= technique.versions()
    return found


def _candidates(spec: RunSpec) -> Engine | None:
    """What runs the candidate, where that is another engine."""
    if not spec.technique:
        return None
    from greenbench.techniques import candidate_engine  # as above

    chosen = candidate_engine(list(spec.technique.values()), spec.engine)
    return None if chosen == spec.engine else chosen


def _machine(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What decides a result on a device of this name, and someone may have changed."""
    if threads := environment.get("threads"):
        yield "threads", str(threads["torch"])
    if cuda := environment.get("cuda"):
        yield "cuda", str(cuda)
    for number, gpu in enumerate(environment.get("gpus", ())):
        for fact in ("driver", "power_limit_mw"):
            yield f"gpu {number} {fact}", str(gpu.get(fact))
