"""The key of a run: prose is out of it, and whatever determines a result is in."""

from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import ClassVar, get_type_hints

import pytest

from greenbench.campaign.compose import plan
from greenbench.campaign.identity import former_key, identity, run_key
from greenbench.machine.detect import Machine
from greenbench.records.store import parse
from greenbench.schema.enums import Arrivals, Device, Dtype, Source, Stop, Tier
from greenbench.schema.resolved import Chosen
from greenbench.schema.spec import ModelSpec, RunSpec, labels
from greenbench.techniques.pruning.depth import PruneDepth

CPU = Machine("cpu", "Some CPU", 1 << 30)
ROOM = ["protocol.max_blocks=1000", "protocol.warmup_limit_s=1000", "model.id=a/b"]
"""So that one field can change alone."""
SPEC = plan(["model=smollm2-135m", "technique=prune_depth", *ROOM], multirun=False)[0].spec
RECORDS = Path(__file__).parents[1] / "report" / "golden" / "cpu" / "records"
PARTS = {name: part for name, part in get_type_hints(RunSpec).items() if is_dataclass(part)}
FIELDS = [(name, field.name) for name, part in PARTS.items() for field in fields(part)]
OTHER = {
    ("task", "fewshot"): 3,
    ("model", "source"): Source.hub,
    ("model", "dtype"): Dtype.float32,
    ("workload", "stop"): Stop.natural,
    ("meter", "order"): ["rapl"],
    ("protocol", "tier"): Tier.smoke,
    ("meter", "cpu_tdp_w"): 65.0,
    ("meter", "wall_log"): "log.csv",
}
"""Values for fields that `changed` cannot invent."""
ONLY = {("load", "arrivals"), ("model", "path"), ("task", "include_path")}
"""One value so far, tested by itself, or only where to look."""


@dataclass(frozen=True)
class Engine:
    """Stands for an engine with a knob."""

    name: ClassVar[str] = "vllm"
    streams: int = 1


def key(spec, machine=CPU):
    return run_key(identity(spec, machine))


def changed(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return next(other for other in type(value) if other is not value)
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, *value[:1]]
    return (
        f"{value or ''}x" if value is None or isinstance(value, str) else pytest.fail(repr(value))
    )


@pytest.mark.parametrize("place", [pair for pair in FIELDS if pair not in ONLY], ids=".".join)
def test_labels_change_no_key_and_all_else_does(place):
    name, field = place
    part = getattr(SPEC, name)
    value = OTHER[place] if place in OTHER else changed(getattr(part, field))
    after = replace(SPEC, **{name: replace(part, **{field: value})})
    is_label = field in labels().get(name, ())
    assert (key(SPEC) == key(after)) is is_label
    assert identity(SPEC, CPU) != identity(after, CPU)  # recorded all the same


def test_what_is_no_part_changes_the_key_too():
    others = [
        replace(SPEC, seed=1),
        replace(SPEC, technique={}),
        replace(SPEC, technique={"prune_depth": PruneDepth(0.5)}),
        replace(SPEC, engine=Engine()),
        replace(SPEC, engine=Engine(streams=2)),
    ]
    keys = {key(spec) for spec in [SPEC, *others]}
    machines = [Machine("cuda", "Some CPU", 1), Machine("cpu", "Another CPU", 1)]
    keys |= {key(SPEC, machine) for machine in machines}
    assert len(keys) == 1 + len(others) + len(machines)
    assert {field.name for field in fields(RunSpec)} == {
        *PARTS, "seed", "technique", "engine", "device",
    }  # fmt: skip
    assert key(replace(SPEC, device=Device.cpu)) == key(SPEC)  # by what it turns out to be
    assert list(Arrivals) == [Arrivals.closed]


def test_a_local_models_place_is_no_matter_and_its_content_is(tmp_path):
    def of(folder, text):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(text)
        return key(
            replace(SPEC, model=ModelSpec(folder, Source.local, path=str(tmp_path / folder)))
        )

    assert of("a", "{}") == of("b", "{}") != of("c", '{"x": 1}')


def test_labels_are_the_names_and_prose_of_the_plan():
    assert labels() == {
        "model": {"name", "license", "note"},
        "workload": {"name"},
        "protocol": {"time_limit_s"},
    }


@pytest.mark.parametrize("file", sorted(RECORDS.glob("*.json")), ids=lambda file: file.stem)
def test_a_run_of_version_1_is_found_by_the_key_that_it_had(file):
    spec = parse(file).spec
    assert former_key(spec) == file.stem != run_key(spec)
    assert former_key(spec.model_copy(update={"engine": Chosen(name="vllm")})) is None
