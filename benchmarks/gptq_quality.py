"""Our GPTQ beside llm-compressor's and plain rounding: the same model, bits, groups and calibration tokens.

    python benchmarks/gptq_quality.py [--model smollm2-135m] [--group 64] [--passages N] [--tokens N]
        [--tasks wikipedia_bpb,lambada_bpb] [--items 300]

4 bits, of the linear layers in the blocks. llm-compressor (``make compressor``) computes in a process of its
own, on the same token ids; what it leaves is read back from its files. Its own default is a symmetric grid,
and ours has a zero for each group, so that it stands here both ways; rounding is to our grid. Passages and
tokens are by default those of `technique=gptq` on this device.

All are scored in one way, as plain matrices in the model's dtype with the weights that the codes stand for:
bits per byte of text that nothing was calibrated on, and its change against the plain model and against ours,
paired by passage, with 95 % intervals. Seconds are those of the preparation, with the start of
llm-compressor's process and the files that it writes and reads; once, so that they tell no small difference.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import nn

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.transformers.load import load_model, load_tokenizer
from greenbench.machine.detect import Machine, detect
from greenbench.models import files, texts
from greenbench.models.parts import decoder_blocks
from greenbench.quality.answers import Answers
from greenbench.quality.compare import compare
from greenbench.quality.score import answers
from greenbench.schema.quantity import Quantity
from greenbench.schema.spec import ModelSpec, TaskSpec
from greenbench.techniques import ModelEdit, Preparation
from greenbench.techniques.quantization.gptq import Gptq, rounded
from greenbench.techniques.quantization.llm_compressor import GptqW4a16
from greenbench.techniques.quantization.packed_linear import PackedLinear
from greenbench.techniques.shared import compressor
from greenbench.techniques.shared.linear_views import block_linears, linear_of

BITS = 4
Change = Callable[[Any, Preparation], None]
PLAIN, OURS = "plain", "GreenBench's GPTQ"


class Turn(NamedTuple):
    """One of them, prepared and scored."""

    answers: Answers
    seconds: float
    details: Mapping[str, Any]


def main() -> int:
    """Print a table a task; the exit status is 0 whoever is better."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--group", type=int, default=64, help="inputs that share a scale")
    parser.add_argument("--passages", type=int)
    parser.add_argument("--tokens", type=int, help="of each passage")
    parser.add_argument("--tasks", default="wikipedia_bpb,lambada_bpb")
    parser.add_argument("--items", type=int, default=300, help="of each task")
    given = parser.parse_args()
    compressor.require_installed(GptqW4a16.name)
    (job,) = plan([f"model={given.model}"], multirun=False)
    machine = detect("auto")
    ours = Gptq(BITS, given.group, passages=given.passages, tokens=given.tokens)
    ours = ours.settled(machine.device)
    task = TaskSpec(names=given.tasks.split(","), items=given.items)
    found: dict[str, Turn] = {}
    for name, change in _contestants(ours).items():
        found[name] = _turn(job.spec.model, machine, change, task)
        if name != PLAIN:
            scores = compare(found[PLAIN].answers, found[name].answers)
            said = ", ".join(f"{each.task} {_said(each.change)}" for each in scores)
            print(f"{name}: {found[name].seconds:.0f} s; {said}", flush=True)
    text = found[OURS].details["calibration"]
    versions = ", ".join(f"{name} {number}" for name, number in compressor.versions().items())
    print(
        f"\n{given.model} on {machine.device_name}, {torch.get_num_threads()} threads; {BITS} bits in groups "
        f"of {given.group}; calibrated on {text['tokens']} tokens in {text['passages']} passages; {versions}"
    )
    for place, asked in enumerate(found[PLAIN].answers.tasks):
        print("\n" + _table(f"{asked.task}, {len(asked.indices)} passages", place, found))
    return 0


def _contestants(ours: Gptq) -> dict[str, Change]:
    """How each changes a plain model."""
    text = {"passages": ours.passages, "tokens": ours.tokens}
    theirs = GptqW4a16(group_size=ours.group_size, **text)  # type: ignore[arg-type]
    zeros = GptqW4a16(group_size=ours.group_size, symmetric=False, **text)  # type: ignore[arg-type]
    return {
        PLAIN: lambda model, work: None,
        "rounded to nearest": lambda model, work: _round(model, ours.group_size),
        OURS: lambda model, work: _edit(ours, model, work),
        "llm-compressor's GPTQ": lambda model, work: _edit(theirs, model, work),
        "llm-compressor's GPTQ, with zeros": lambda model, work: _edit(zeros, model, work),
    }


def _edit(technique: ModelEdit, model: Any, work: Preparation) -> None:
    technique.edit(model, work)


@torch.no_grad()
def _round(model: Any, group: int) -> None:
    for layer in block_linears(model):
        layer.weight.copy_(rounded(layer.weight, BITS, group).weight())


def _turn(spec: ModelSpec, machine: Machine, change: Change, task: TaskSpec) -> Turn:
    directory = files.directory(spec)
    model = load_model(spec, directory, machine.device_map)
    with TemporaryDirectory() as folder:
        work = Preparation(
            machine.torch_device,
            load_tokenizer(spec, directory),
            lambda: texts.passages("calibrate"),
            workspace=Path(folder),
        )
        start_s = time.perf_counter()
        change(model, work)
        spent_s = time.perf_counter() - start_s
    _unpack(model)
    build = Build(spec, "module", model, directory)
    with Transformers().serve(build, machine) as served:
        return Turn(answers(served, task, lambda done, total: None), spent_s, work.details)


@torch.no_grad()
def _unpack(model: Any) -> None:
    """Plain matrices in place of packed ones, so that all are scored by the same product."""
    for block in decoder_blocks(model):
        for name, layer in list(block.named_modules()):
            if isinstance(layer, PackedLinear):
                block.set_submodule(name, linear_of(layer.weight_now(), layer.bias))
    packed = [layer for layer in model.modules() if isinstance(layer, PackedLinear)]
    assert not packed
    assert any(isinstance(layer, nn.Linear) for layer in decoder_blocks(model)[0].modules())


def _table(title: str, place: int, found: Mapping[str, Turn]) -> str:
    """Levels and changes of the task at `place`, as markdown."""
    against = {"against plain": found[PLAIN], "against ours": found[OURS]}
    lines = [
        f"| {title} | bits per byte | {' | '.join(against)} | preparation, s |",
        "|---|---|---|---|---|",
    ]
    for name, turn in found.items():
        scores = [compare(other.answers, turn.answers)[place] for other in against.values()]
        changes = [
            "" if turn is other else _said(score.change)
            for score, other in zip(scores, against.values(), strict=True)
        ]
        level = scores[0].candidate.value
        spent = "" if name == PLAIN else f"{turn.seconds:.0f}"
        lines.append(f"| {name} | {level:.4f} | {' | '.join(changes)} | {spent} |")
    return "\n".join(lines)


def _said(change: Quantity) -> str:
    bounds = f"{change.low:+.4f} to {change.high:+.4f}"
    return f"{change.value:+.4f} ({bounds})"


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())
