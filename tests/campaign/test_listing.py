"""``bench --list`` and ``--shard``: a sweep as commands, and a part of it."""

import shlex

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from greenbench.campaign.bench import Asked, _part, bench, listed
from greenbench.campaign.compose import plan
from greenbench.cli.main import main
from greenbench.errors import UserError

SWEEP = [
    "model=smollm2-135m",
    "task=smoke",
    "device=cpu",
    "technique=none,int8_bnb,[prune_depth,gptq]",
]


def test_each_run_is_a_command_that_asks_for_it_again(capsys, tmp_path):
    assert main(["bench", "--multirun", "--list", *SWEEP, f"results={tmp_path / 'a b'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    jobs = plan([*SWEEP, f"results={tmp_path / 'a b'}"], multirun=True)
    assert len(commands) == 3
    for command, job in zip(commands, jobs, strict=True):
        program, verb, *overrides = shlex.split(command)
        assert (program, verb) == ("greenbench", "bench")
        (again,) = plan(overrides, multirun=False)
        assert again.spec == job.spec
    assert lines[0].startswith("# 1 of 3, smollm2-135m, none: at least ")
    assert "prune_depth + gptq" in lines[4]
    assert lines[-1].startswith("# 3 runs to measure: at least ")
    assert not tmp_path.joinpath("a b").exists()


def test_what_cannot_be_measured_here_says_why_in_the_list():
    lines = list(
        listed(Asked(["model=smollm2-135m", "task=smoke", "device=cpu", "technique=power_limit"]))
    )
    assert "not measured here: " in lines[0]
    assert lines[-1] == "# 0 runs to measure, 1 refused here"


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_where_the_device_is_not_here_the_runs_are_listed_all_the_same():
    lines = list(listed(Asked([*SWEEP, "device=cuda"], multirun=True)))
    assert sum(not line.startswith("#") for line in lines) == 3
    assert lines[0].startswith("# 1 of 3, smollm2-135m, none: at least ")
    assert "What can be measured was not looked at: device=cuda was asked for" in lines[-1]


@given(st.integers(1, 40), st.integers(1, 12))
def test_parts_hold_every_run_once(runs, of):
    whole = list(range(runs))
    parts = [_part(whole, f"{number}/{of}") for number in range(1, min(of, runs) + 1)]
    assert sorted(run for part in parts for run in part) == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "-1/2", "1/2/3", "", "1/0", 3, (1, 2)])
def test_what_is_no_part_is_refused(shard):
    with pytest.raises(UserError, match="is no part: say 1/4"):
        bench(Asked(SWEEP, multirun=True, shard=shard))


def test_a_part_without_runs_is_refused():
    with pytest.raises(UserError, match="--shard 4/4 holds none of the 3 runs"):
        listed(Asked(SWEEP, multirun=True, shard="4/4"))


def test_a_part_is_listed_alone():
    lines = list(listed(Asked(SWEEP, multirun=True, shard="2/2")))
    assert [line.partition(": ")[0] for line in lines[:-1:2]] == [
        "# 1 of 1, smollm2-135m, int8_bnb"
    ]
