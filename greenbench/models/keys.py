"""The key of a run."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import get_type_hints

from greenbench.models import inputs
from greenbench.schema.record import SCHEMA_VERSION
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import RunSpec


def run_key(spec: ResolvedSpec) -> str:
    """Hash of what determines a result (16 hex digits): the schema version, and the spec but its labels."""
    prose = labels() | ({"device": {"uuids"}} if spec.device.uuids is None else {})
    return inputs.key([SCHEMA_VERSION, spec.model_dump(mode="json", exclude=prose)])[:16]


def labels() -> dict[str, set[str]]:
    """The labels of a run's spec, by part."""
    parts = {
        name: {item.name for item in fields(part) if item.metadata.get("label")}
        for name, part in get_type_hints(RunSpec).items()
        if is_dataclass(part)
    }
    return {name: found for name, found in parts.items() if found}
