"""Preparation of a stack: each technique amid what those before it need while the model runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoTokenizer

from greenbench.campaign.compose import plan
from greenbench.machine.detect import Machine
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.run.prepare import Candidate, Place
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.runtime.kernels_and_threads import Threads
from greenbench.techniques.technique import Edited, ModelEdit


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
    tokenizer = AutoTokenizer.from_pretrained(tiny_directory)
    candidate = Candidate(
        spec,
        [leaves],
        Place(cpu, tiny_directory, tokenizer, again=True),
        Recorder(OpenMeters(), cpu.torch_device),
        lambda stage, done, total: None,
    )
    candidate.prepare(candidate.load())
    (applied,) = candidate.applied()
    assert applied.details["again"] is True
    assert (Path(applied.details["place"]) / "trained").exists()
    candidate.close()
    assert not Path(applied.details["place"]).exists()


def test_surroundings_of_one_technique_hold_while_the_next_prepares(tiny_directory: Path):
    spec = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)[0].spec
    spec = replace(spec, workload=WorkloadSpec("w", batch_size=3))
    cpu = Machine("cpu", "some CPU", 1 << 34)
    recorder = Recorder(OpenMeters(), cpu.torch_device)
    before = torch.get_num_threads()
    looks = Looks()
    object.__setattr__(looks, "name", "looks")
    stack = [Threads(before + 1), looks]
    tokenizer = AutoTokenizer.from_pretrained(tiny_directory)
    candidate = Candidate(
        spec,
        stack,
        Place(cpu, tiny_directory, tokenizer, again=False),
        recorder,
        lambda stage, done, total: None,
    )
    candidate.prepare(candidate.load())
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
    recorder = Recorder(OpenMeters(), cpu.torch_device)
    metered = recorder.whole

    def whole(*args):
        EVENTS.append(args[0])
        return metered(*args)

    recorder.whole = whole
    installs = Installs()
    object.__setattr__(installs, "name", "installs")
    tokenizer = AutoTokenizer.from_pretrained(tiny_directory)
    place = Place(cpu, tiny_directory, tokenizer, again=False)
    candidate = Candidate(spec, [installs], place, recorder, lambda stage, done, total: None)
    candidate.prepare(candidate.load())
    assert EVENTS == ["installs", "prepare", "prepares"]
