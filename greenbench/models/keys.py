"""The key of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, get_type_hints

from greenbench.models import inputs
from greenbench.schema.record import SCHEMA_VERSION
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import RunSpec
from greenbench.schema.training.spec import USUAL_FIELD

UNUSED: Final[Mapping[str, Mapping[str, Any]]] = {
    "": {"session": 1, "training": None},
    "load": {"shared": 0.0},
    "device": {"uuids": None},
    "training": {"dataset": None, "revision": None, "text_field": USUAL_FIELD},
}
"""By part, values of who does not use what came with later code, or tells no twins apart."""


def run_key(spec: ResolvedSpec) -> str:
    """Hash of what determines a result (16 hex digits): the schema version, and the spec but its labels."""
    return key_of(spec.model_dump(mode="json"))


def key_of(spec: Mapping[str, Any]) -> str:
    """The same of a spec as a record of this schema version has it, whichever code wrote it."""
    prose = labels()

    def deciding(part: str, held: Mapping[str, Any]) -> dict[str, Any]:
        unused, words = UNUSED.get(part, {}), prose.get(part, ())
        return {
            name: value
            for name, value in held.items()
            if name not in words and not (name in unused and unused[name] == value)
        }

    decides = {
        name: deciding(name, value) if isinstance(value, Mapping) else value
        for name, value in deciding("", spec).items()
    }
    return inputs.key([SCHEMA_VERSION, decides])[:16]


def labels() -> dict[str, set[str]]:
    """The labels of a run's spec, by part."""
    parts = {
        name: {item.name for item in fields(part) if item.metadata.get("label")}
        for name, part in get_type_hints(RunSpec).items()
        if is_dataclass(part)
    }
    return {name: found for name, found in parts.items() if found}
