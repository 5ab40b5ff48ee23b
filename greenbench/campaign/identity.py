"""Which run a spec is: its key, its label and the command that repeats it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from greenbench.campaign.compose import plain
from greenbench.machine.detect import Machine
from greenbench.models import files
from greenbench.schema.enums import Source
from greenbench.schema.record import SCHEMA_VERSION
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import USUAL_ENGINE, RunSpec, labels
from greenbench.scrub import scrub


def run_key(spec: ResolvedSpec) -> str:
    """Hash of what determines a result (16 hex digits): the schema version, and the spec but its labels."""
    return _hash(SCHEMA_VERSION, spec.model_dump(mode="json", exclude=labels()))


def former_key(spec: ResolvedSpec) -> str | None:
    """The key that the same run had in version 1, labels included; null where there was none such."""
    values = spec.model_dump(mode="json")
    engine, load = values.pop("engine"), values.pop("load")
    known = (engine, load) == ({"name": USUAL_ENGINE}, {"arrivals": "closed"})
    return _hash(1, values) if known else None


def _hash(version: int, values: dict[str, Any]) -> str:
    text = json.dumps([version, values], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def label(spec: RunSpec) -> str:
    """The technique stack as tables show it."""
    return " + ".join(technique.label() for technique in spec.technique.values()) or "none"


def identity(spec: RunSpec, machine: Machine) -> ResolvedSpec:
    """The resolved spec: what determines the result, and nothing private.

    A local path, a model's or a technique's, gives way to its content's hash, the device to the
    hardware's name.
    """
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
    values["device"] = {"kind": machine.device, "name": machine.device_name}
    values["meter"]["wall_log"] = spec.meter.wall_log is not None
    if spec.model.source is Source.local:
        values["model"]["path"] = files.fingerprint(Path(str(spec.model.path)).expanduser())
    return ResolvedSpec.model_validate(values)


def _engine(engine: Any) -> dict[str, Any]:
    """The engine's name and knobs."""
    if engine is None:
        return {"name": USUAL_ENGINE}
    return {"name": engine.name, **plain(engine)}


def command(overrides: Sequence[str]) -> str:
    """The command that runs this job again, without what only said where its record goes."""
    kept = [text for text in overrides if text.partition("=")[0] not in ("results", "force")]
    return scrub(shlex.join(["greenbench", "bench", *kept]))
