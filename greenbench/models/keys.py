"""The key of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from greenbench.models import inputs
from greenbench.schema.record import SCHEMA_VERSION
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import RunSpec


def run_key(spec: ResolvedSpec) -> str:
    """Hash of what determines a result (16 hex digits): the schema version, and the spec but its labels."""
    return key_of(spec.model_dump(mode="json"))


def key_of(spec: Mapping[str, Any]) -> str:
    """The same of a spec as a record of this schema version has it, whichever code wrote it: what came with
    later code has no part in the key of who does not use it."""
    decides = {name: value for name, value in spec.items() if (name, value) != ("session", 1)}
    if "load" in spec:
        held = spec["load"].items()
        decides["load"] = {name: value for name, value in held if (name, value) != ("shared", 0)}
    unnamed = {"device": {"uuids"}} if (spec.get("device") or {}).get("uuids") is None else {}
    for part, names in (*labels().items(), *unnamed.items()):
        if isinstance(decides.get(part), Mapping):
            held = decides[part].items()
            decides[part] = {name: value for name, value in held if name not in names}
    return inputs.key([SCHEMA_VERSION, decides])[:16]


def labels() -> dict[str, set[str]]:
    """The labels of a run's spec, by part."""
    parts = {
        name: {item.name for item in fields(part) if item.metadata.get("label")}
        for name, part in get_type_hints(RunSpec).items()
        if is_dataclass(part)
    }
    return {name: found for name, found in parts.items() if found}
