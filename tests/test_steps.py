"""Preparation of a stack: each technique amid what those before it need while the model runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoTokenizer

from greenbench.applied import Promise
from greenbench.config import plan
from greenbench.machine import Machine
from greenbench.measure.windows import Recorder
from greenbench.meters import OpenMeters
from greenbench.specs import WorkloadSpec
from greenbench.steps import Candidate
from greenbench.techniques.base import Technique
from greenbench.techniques.runtime import Threads


@dataclass(frozen=True)
class Looks(Technique):
    """Keeps what it met while it prepared; no name, so it is in no list of techniques."""

    summary = "looks"

    def promise(self, model):
        return Promise(note="nothing")

    def apply(self, model, preparation):
        preparation.details.update(
            threads=torch.get_num_threads(), batch=preparation.workload.batch_size
        )
        return model


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
        spec, stack, cpu, tiny_directory, tokenizer, recorder, lambda stage, done, total: None
    )
    candidate.prepare(candidate.load())
    assert candidate.applied()[1].details == {"threads": before + 1, "batch": 3}
    assert torch.get_num_threads() == before
