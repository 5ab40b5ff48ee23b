"""Preparation of a stack: each technique amid what those before it need while the model runs."""

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, attach_execution_device_hook
from transformers import AutoConfig

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build, Request
from greenbench.engines.transformers.engine import Transformers
from greenbench.machine.detect import Machine
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.models import files, texts
from greenbench.run.prepare import Candidate
from greenbench.run.workbench import Place
from greenbench.schema.enums import Dtype
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.decoding.assisted import PromptLookup
from greenbench.techniques.pruning.depth import PruneDepth
from greenbench.techniques.pruning.single_weights import PruneMagnitude
from greenbench.techniques.quantization.dtype import Dtype as ChangeDtype
from greenbench.techniques.quantization.gptq import Gptq
from greenbench.techniques.runtime.kernels_and_threads import Attention, StaticCache, Threads
from greenbench.techniques.technique import Edited, ModelEdit, Traits

IN_PROCESS = Transformers()


def silent(stage, done, total):
    """No progress."""


def place(spec, machine, engine=IN_PROCESS, again=False):
    directory = Path(spec.model.path)
    base = Build(spec.model, "safetensors", directory, directory)
    return Place(machine, engine, base, files.fingerprint(spec.model), again)


@dataclass(frozen=True)
class Leaves(ModelEdit):
    """Leaves a file in its workspace; no name, so it is in no list of techniques."""

    summary = "leaves"

    def promise(self, model):
        return Promise(note="nothing")

    def edit(self, model, work):
        work.workspace.mkdir(parents=True)
        (work.workspace / "trained").write_text("weights")
        work.details.update(place=str(work.workspace), again=work.again)
        return Edited(model)


@dataclass(frozen=True)
class Looks(ModelEdit):
    """Keeps what it met while it prepared; no name, so it is in no list of techniques."""

    summary = "looks"

    def promise(self, model):
        return Promise(note="nothing")

    def edit(self, model, work):
        work.details.update(threads=torch.get_num_threads(), batch=work.workload.batch_size)
        return Edited(model)


def test_what_a_preparation_kept_for_the_next_turn_goes_at_the_end(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)
    leaves = Leaves()
    object.__setattr__(leaves, "name", "leaves")
    candidate = Candidate(
        spec, [leaves], place(spec, cpu, again=True), Recorder(OpenMeters()), silent
    )
    candidate.build()
    (applied,) = candidate.applied()
    assert applied.details["again"] is True
    assert (Path(applied.details["place"]) / "trained").exists()
    candidate.close()
    assert not Path(applied.details["place"]).exists()


def test_surroundings_of_one_technique_hold_while_the_next_prepares(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    spec = replace(spec, workload=WorkloadSpec("w", batch_size=3))
    cpu = Machine("cpu", "some CPU", 1 << 34)
    recorder = Recorder(OpenMeters())
    before = torch.get_num_threads()
    looks = Looks()
    object.__setattr__(looks, "name", "looks")
    stack = [Threads(before + 1), looks]
    candidate = Candidate(spec, stack, place(spec, cpu), recorder, silent)
    candidate.build()
    assert candidate.applied()[1].details == {"threads": before + 1, "batch": 3}
    assert torch.get_num_threads() == before


EVENTS: list[str] = []


@dataclass(frozen=True)
class Installs(Looks):
    """Tells what is metered when it installs and when it prepares."""

    def install(self, device):
        EVENTS.append("installs")

    def edit(self, model, work):
        EVENTS.append("prepares")
        return Edited(model)


def test_what_is_made_once_per_machine_is_not_metered_as_preparation(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)
    recorder = Recorder(OpenMeters())
    metered = recorder.whole

    def whole(*args):
        EVENTS.append(args[0])
        return metered(*args)

    recorder.whole = whole
    installs = Installs()
    object.__setattr__(installs, "name", "installs")
    candidate = Candidate(spec, [installs], place(spec, cpu), recorder, silent)
    candidate.build()
    assert EVENTS == ["installs", "prepare", "prepares"]


class Files(Transformers):
    """Takes checkpoints only."""

    name = "files"
    forms = frozenset({"safetensors"})


def test_an_engine_that_takes_files_gets_the_edited_model_as_a_checkpoint(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)
    candidate = Candidate(
        spec, [PruneDepth(0.25)], place(spec, cpu, Files()), Recorder(OpenMeters()), silent
    )
    build = candidate.build()
    assert build.form == "safetensors"
    assert AutoConfig.from_pretrained(build.source).num_hidden_layers == 3
    with Files().serve(build, cpu) as served:
        assert served.footprint().layers == 3
        (done,) = served.complete([Request((5, 6, 7), 4)])
        assert done.tokens == 4
    with Transformers().serve(replace(build, source=tiny_directory), cpu) as whole:
        assert whole.tokenizer.encode("two words") == served.tokenizer.encode("two words")
    candidate.close()
    assert not build.source.exists()


def test_options_merge_and_settings_nest_in_the_order_of_the_stack(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)
    before = torch.get_num_threads()
    stack = [Threads(before + 2), StaticCache(), Attention("eager"), Threads(before + 1)]
    candidate = Candidate(spec, stack, place(spec, cpu), Recorder(OpenMeters()), silent)
    build = candidate.build()
    assert build.form == "safetensors", "nothing was edited, so the engine loads the model itself"
    assert build.options["attn_implementation"] == "eager"
    assert build.options["cache_implementation"] == "static"
    with build.hold():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@dataclass(frozen=True)
class Told(ModelEdit):
    """Says where it may keep what it made."""

    summary = "tells"
    name = "told"
    packages = ("hydra-core",)
    knob: int = 1

    def promise(self, model):
        return Promise(note="nothing")

    def edit(self, model, work):
        work.details["place"] = work.workspace.name
        return Edited(model)


def test_a_workspace_is_found_again_by_all_that_what_is_in_it_was_made_of(
    tiny_directory: Path, monkeypatch
):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)

    def kept(spec=spec, machine=cpu, engine=IN_PROCESS, told=Told()):
        candidate = Candidate(
            spec, [told], place(spec, machine, engine), Recorder(OpenMeters()), silent
        )
        candidate.build()
        return candidate.applied()[0].details["place"]

    plain = kept()
    assert kept() == kept(replace(spec, task=replace(spec.task, items=3))) == plain
    found = {
        plain,
        kept(replace(spec, seed=1)),
        kept(replace(spec, model=replace(spec.model, dtype=Dtype.float32))),
        kept(replace(spec, workload=WorkloadSpec("w", batch_size=3))),
        kept(machine=Machine("cpu", "another CPU", 1 << 34)),
        kept(engine=Files()),
        kept(told=Told(2)),
    }
    version = metadata.version
    for package in ("torch", "hydra-core"):
        monkeypatch.setattr(
            metadata, "version", lambda name, p=package: "0" if name == p else version(name)
        )
        found.add(kept())
    monkeypatch.setattr(metadata, "version", version)
    with (tiny_directory / "tokenizer_config.json").open("a") as stream:
        stream.write(" ")
    found.add(kept())
    monkeypatch.setattr(texts, "fingerprint", lambda: "another text")
    found.add(kept())
    assert len(found) == 11


@pytest.mark.parametrize(
    ("technique", "idle"),
    [
        (Attention("sdpa"), True),
        (Attention("eager"), False),
        (ChangeDtype(Dtype.float32), True),
        (ChangeDtype(Dtype.bfloat16), False),
        (PromptLookup(), True),  # it drafts while it generates, and nothing has been generated
        (PruneMagnitude(), False),
        (PruneDepth(0.25), False),
    ],
    ids=lambda value: value.label() if hasattr(value, "label") else str(value),
)
def test_a_technique_that_did_none_of_its_work_is_idle(technique, idle, tiny_directory: Path):
    words = ["model=local", f"model.path={tiny_directory}", "model.dtype=float32"]
    spec = plan(words, multirun=False)[0].spec
    here = place(spec, Machine("cpu", "some CPU", 1 << 34))
    candidate = Candidate(spec, [technique], here, Recorder(OpenMeters()), silent)
    with IN_PROCESS.serve(candidate.build(), here.machine):
        assert candidate.idle() is idle
    candidate.close()


@pytest.mark.parametrize("engine", [IN_PROCESS, Files()], ids=["live", "files"])
def test_what_takes_long_is_made_once_for_all_turns(tiny_directory: Path, monkeypatch, engine):
    """And is the same each time, to the last bit."""
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)
    made = []
    edit = Gptq.edit
    monkeypatch.setattr(Gptq, "edit", lambda *given: made.append(1) or edit(*given))
    stack = [PruneDepth(0.25), Gptq(bits=8, group_size=0, passages=2, tokens=16)]
    if engine is IN_PROCESS:
        stack = stack[1:]
    here = place(spec, cpu, engine, again=True)
    candidate = Candidate(spec, stack, here, Recorder(OpenMeters()), silent)
    tokens = torch.arange(5, 25)[None]
    said = []
    for _ in range(3):
        build = candidate.build()
        if engine is IN_PROCESS:
            said.append(build.source(tokens).logits)
        else:
            said.append(files.content(Path(build.source)))
    assert made == [1]
    assert len(candidate.applied()) == len(stack)
    assert torch.equal(said[0], said[2]) if engine is IN_PROCESS else len(set(said)) == 1
    candidate.close()
    assert not any(candidate._workspace(index).exists() for index in range(len(stack)))


@dataclass(frozen=True)
class Spreads(Looks):
    """Sets the hooks of a model on several devices, as accelerate does: on each part that holds weights."""

    def traits(self):
        return Traits(keeps=True)

    def edit(self, model, work):
        add_hook_to_module(model, AlignDevicesHook(io_same_device=True))
        attach_execution_device_hook(model, torch.device("cpu"), tied_params_map={})
        return Edited(model)


def test_gptq_of_a_model_spread_over_devices_is_made_once_for_all_turns(
    tiny_directory: Path, monkeypatch
):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    made = []
    edit = Gptq.edit
    monkeypatch.setattr(Gptq, "edit", lambda *given: made.append(1) or edit(*given))
    spreads = Spreads()
    object.__setattr__(spreads, "name", "spreads")
    stack = [spreads, Gptq(bits=8, group_size=0, passages=2, tokens=16)]
    here = place(spec, Machine("cpu", "some CPU", 1 << 34), again=True)
    candidate = Candidate(spec, stack, here, Recorder(OpenMeters()), silent)
    models = [candidate.build().source for _ in range(3)]
    assert made == [1]
    said = [model(torch.arange(5, 25)[None]).logits for model in models]
    assert torch.equal(said[0], said[1])
    assert torch.equal(said[0], said[2])
    hooked = [
        {name for name, part in model.named_modules() if hasattr(part, "_hf_hook")}
        for model in models
    ]
    assert hooked[0] == hooked[1] == hooked[2]
    assert "model.embed_tokens" in hooked[0]
    assert "model.layers.0.mlp.up_proj" not in hooked[0], (
        "packed, as its block brings it what it reads"
    )
    candidate.close()


def test_what_a_file_cannot_hold_is_made_anew_in_each_turn(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    cpu = Machine("cpu", "some CPU", 1 << 34)
    seen = []

    @dataclass(frozen=True)
    class Hooks(Looks):
        """Leaves a function in the module, which no file holds."""

        def traits(self):
            return Traits(keeps=True)

        def edit(self, model, work):
            seen.append(1)
            model.lm_head.register_forward_hook(lambda module, given, result: result)
            return Edited(model)

    hooks = Hooks()
    object.__setattr__(hooks, "name", "hooks")
    here = place(spec, cpu, again=True)
    candidate = Candidate(spec, [hooks], here, Recorder(OpenMeters()), silent)
    for _ in range(2):
        candidate.build()
    assert seen == [1, 1]
    candidate.close()
