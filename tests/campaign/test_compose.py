"""Every file under conf/ and experiments/ composes, and every mistake is one sentence."""

import re

import pytest
from helpers.techniques import RECIPES

from greenbench import plugins
from greenbench.campaign.catalog import GROUPS, experiments, options
from greenbench.campaign.compose import plain, plan
from greenbench.campaign.identity import identity, run_key
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.paths import conf_dir

CPU = Machine("cpu", "Some CPU", 1 << 30)
NEEDS = {
    "hub": ["model.id=org/name"],
    "local": ["model.path=somewhere/tiny"],
    "wall": ["meter.wall_log=log.csv"],
    "online": ["load.rate=1"],
} | {name: ["workload=finetune"] for name in RECIPES}


ENGINE = """
from dataclasses import dataclass
from greenbench.engines.engine import Engine

@dataclass(frozen=True)
class Outside(Engine):
    name = "outside"
    summary = "an engine from outside"
    forms = frozenset({"url"})
    slots: int = 1

    def room_bytes(self, build): ...
    def serve(self, build, machine): ...
"""


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_every_option_composes(group, option):
    (job,) = plan([f"{group}={option}", *NEEDS.get(option, [])], multirun=False)
    assert plain(job.spec)[group] is not None


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_composes(name):
    jobs = plan([f"+experiments={name}"], multirun=True)
    assert len({str(plain(job.spec)) for job in jobs}) == len(jobs) > 0


def test_a_sweep_is_every_combination_and_the_command_line_wins():
    jobs = plan(["+experiments=smoke", "technique=none,fp32", "seed=1,2,3"], multirun=True)
    assert {(tuple(job.spec.technique), job.spec.seed) for job in jobs} == {
        (stack, seed) for stack in ((), ("dtype",)) for seed in (1, 2, 3)
    }


def test_sessions_of_all_runs_lie_a_round_apart():
    """Not three times in a row: what a machine does by the hour would be in all three alike."""
    jobs = plan(["technique=none,gptq", "sessions=2", "task.items=5"], multirun=True)
    assert [(list(job.spec.technique), job.spec.session) for job in jobs] == [
        ([], 1), (["gptq"], 1), ([], 2), (["gptq"], 2),
    ]  # fmt: skip
    assert {job.spec.sessions for job in jobs} == {1}
    assert "session=2" in jobs[3].overrides
    assert not any(text.startswith("sessions") for job in jobs for text in job.overrides)
    (again,) = plan(jobs[3].overrides, multirun=False)  # each is a call of its own
    assert again.spec == jobs[3].spec
    first, second = (run_key(identity(job.spec, CPU)) for job in (jobs[0], jobs[2]))
    assert first != second
    (alone,) = plan(["technique=none", "task.items=5"], multirun=False)
    assert run_key(identity(alone.spec, CPU)) == first


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["sessions=0"], "sessions=0 is out of range: allowed is 1 to 100"),
        (["session=0"], "session=0 is out of range: allowed is 1 to 100"),
        (
            ["session=2", "sessions=3"],
            "sessions=3 is out of range: allowed is 1 to 1 beside session=2",
        ),
    ],
)
def test_sessions_that_cannot_be_are_refused(asked, said):
    with pytest.raises(UserError, match=re.escape(said)):
        plan(asked, multirun=False)


def test_a_stack_keeps_its_order():
    (job,) = plan(["technique=[int8_bnb,prune_depth]"], multirun=False)
    assert list(job.spec.technique) == ["int8_bnb", "prune_depth"]


@pytest.mark.parametrize(
    ("overrides", "key", "allowed"),
    [
        (["technique=bogus"], "technique=bogus", "int8_bnb"),
        (["engine=bogus"], "engine=bogus", "transformers"),
        (["technique=[int8_bnb,bogus]"], "technique=bogus", "int8_bnb"),
        (["+experiments=bogus"], "experiments=bogus", "frontier-cpu"),
        (["sed=1"], "sed", "seed"),
        (["workload.prompt=1"], "workload.prompt", "prompt_tokens"),
        (
            ["technique=prune_depth", "technique.prune_depth.fractoin=1"],
            "technique.prune_depth.fractoin",
            "fraction",
        ),
        (
            ["technique=none", "technique.prune_depth.fraction=0.5"],
            "technique.prune_depth",
            "group",
        ),
        (
            ["technique=prune_depth", "technique.prune_depth.fraction=x"],
            "fraction=x",
            "takes a number",
        ),
        (
            ["technique=prune_depth", "technique.prune_depth.fraction=1.5"],
            "fraction=1.5",
            "below 1",
        ),
        (["technique=int4_bnb", "technique.int4_bnb.quant_type=nf5"], "quant_type=nf5", "nf4"),
        (["technique=[int8_bnb,fp32]"], "dtype", "first"),
        (["device=tpu"], "device=tpu", "cuda"),
        (["meter.order=[sun]"], "meter.order", "rapl"),
        (["meter.cpu_tdp_w=0"], "meter.cpu_tdp_w=0", "more than 0"),
        (["protocol.tier=publish"], "protocol.tier=publish", "60 s"),
        (["protocol.blocks=0"], "protocol.blocks=0", "1 or more"),
        (["workload.output_tokens=1"], "workload.output_tokens=1", "2 or more"),
        (["task.items=-1"], "task.items=-1", "0 (all)"),
        (["seed=1.5"], "seed=1.5", "a whole number"),
        (["model=hub"], "model.id", "model.id="),
        (["model=local"], "model.path", "model.path="),
        (["technique=none,fp32"], "technique=none,fp32", "--multirun"),
        (["+experiments=smoke"], "technique", "--multirun"),
        (["technique"], "technique", "KEY=VALUE"),
        (["technique='a"], "technique='a", "KEY=VALUE"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_key_and_what_is_allowed(overrides, key, allowed):
    with pytest.raises(UserError) as error:
        plan(overrides, multirun=False)
    text = str(error.value)
    assert key in text
    assert allowed in text
    assert "\n" not in text


def test_every_folder_of_values_is_a_group():
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders - {"impact"} <= set(GROUPS)  # what impact assumes is the report's


def test_a_class_is_an_option_by_itself_and_a_file_of_values_another():
    (own,), (variant,) = (
        plan([f"technique={name}"], multirun=False) for name in ("gptq", "gptq_int3")
    )
    (turned,) = plan(["technique=gptq", "technique.gptq.bits=3"], multirun=False)
    assert own.spec.technique["gptq"].bits == 4
    assert variant.spec.technique == turned.spec.technique


def test_the_engine_is_one_whose_knobs_stand_in_the_run(tmp_path, monkeypatch):
    (tmp_path / "outside_engine.py").write_text(ENGINE)
    info = tmp_path / "outside_engine-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[greenbench.engines]\nx = outside_engine\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.named.cache_clear()
    plugins.conf_folders.cache_clear()
    try:
        assert options("engine")["outside"] == "an engine from outside"
        (job,) = plan(["engine=outside", "engine.slots=3"], multirun=False)
        with pytest.raises(UserError, match=r"engine.slot .*allowed here are slots"):
            plan(["engine=outside", "engine.slot=3"], multirun=False)
        assert plan([], multirun=False)[0].spec.engine.name == "transformers"
    finally:
        plugins.named.cache_clear()
        plugins.conf_folders.cache_clear()
    assert (job.spec.engine.name, job.spec.engine.slots) == ("outside", 3)


def test_what_lies_beside_experiments_is_no_config_group():
    """A directory `results` in a checkout once turned results=... into a group override."""
    beside = conf_dir().parent / "results"
    made = not beside.exists()
    beside.mkdir(exist_ok=True)
    try:
        (job,) = plan(["results=elsewhere", "technique=none"], multirun=False)
    finally:
        if made:
            beside.rmdir()
    assert job.spec.results == "elsewhere"


def test_a_config_dir_adds_the_users_own_options(tmp_path):
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "mine.yaml").write_text(
        "name: mine\nbatch_size: 2\nprompt_tokens: 8\noutput_tokens: 4\n"
    )
    (job,) = plan(["workload=mine"], multirun=False, config_dir=tmp_path)
    assert job.spec.workload.batch_size == 2
    with pytest.raises(UserError, match="workload=mine"):
        plan(["workload=mine"], multirun=False)
