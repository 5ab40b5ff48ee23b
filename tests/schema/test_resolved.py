"""What a record keeps of a spec mirrors the spec, field by field."""

from dataclasses import fields

import pytest
from pydantic import ValidationError

from greenbench.schema import resolved, spec
from greenbench.schema.resolved import Chosen, ResolvedSpec
from greenbench.schema.spec import RunSpec


@pytest.mark.parametrize("part", ["Model", "Task", "Workload", "Meter", "Protocol", "Load"])
def test_every_field_of_a_part_is_kept(part):
    kept = getattr(resolved, f"Resolved{part}").model_fields
    named = [field.name for field in fields(getattr(spec, f"{part}Spec"))]
    assert list(kept) == [name for name in named if name != "include_path"]  # only where to look


def test_every_part_is_kept():
    """But what only lets a run be: how much a technique reached stands in the record, and so do neighbours.
    Twins are told apart by their devices' UUIDs."""
    named = {field.name for field in fields(RunSpec)}
    assert set(ResolvedSpec.model_fields) == named - {"allow_partial", "neighbours", "twins"} | {
        "inputs"
    }


def test_a_choice_is_a_name_with_knobs():
    chosen = Chosen.model_validate({"name": "prune_depth", "share": 0.2})
    assert chosen.knobs == {"share": 0.2}
    assert chosen.model_dump() == {"name": "prune_depth", "share": 0.2}
    with pytest.raises(ValidationError):
        Chosen.model_validate({"share": 0.2})
