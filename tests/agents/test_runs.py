"""Runs that an agent starts: real ones, one call's at a time, that outlive their server."""

import json
import time
from contextlib import suppress

import psutil
import pytest
from helpers.agent import agent

from greenbench.records.store import load

QUICK = [
    "model=smollm2-135m", "task=smoke", "task.names=[sst2]", "task.items=3", "workload=short",
    "workload.prompt_tokens=8", "workload.output_tokens=3", "protocol=smoke",
    "protocol.window_s=0.001", "protocol.warmup_s=0", "protocol.warmup_limit_s=0",
    "protocol.idle_s=0.1", "device=cpu",
]  # fmt: skip
FOR_EVER = [*QUICK, "technique=none", "protocol.window_s=600", "seed=1"]
LONGEST_S = 200


@pytest.fixture
def place(smollm2, tmp_path):
    """A directory to serve from, of which nothing goes on when the test is over."""
    yield tmp_path
    for file in tmp_path.glob("*/started/*.json"):
        told = json.loads(file.read_text())
        with suppress(psutil.Error):
            process = psutil.Process(told["pid"])
            if process.cmdline() == told["command"]:
                process.terminate()
                process.wait(60)


def ended(one, run):
    """Its status, once it is over."""
    return _once(one, run, lambda told: told["state"] not in {"running", "stopping"})


def _once(one, run, is_so):
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        (told,) = one.told("status", run=run)["started"]
        if is_so(told):
            return told
        time.sleep(0.2)
    pytest.fail(f"it is not so yet: {told}")


def test_what_an_agent_starts_is_measured_and_read_by_it(place):
    with agent("a b", "--allow-runs", cwd=place, FORCE_COLOR="1") as one:
        tools = one.tools()
        assert {name for name, tool in tools.items() if not tool.annotations.read_only_hint} == {
            "start",
            "stop",
        }
        begun = one.told("start", overrides=[*QUICK, "technique=none,power_limit"], multirun=True)
        assert begun["state"] == "running"
        assert begun["expected"].startswith("1 runs to measure, 1 refused here: at least ")
        told = ended(one, begun["run"])
        assert (told["state"], told["exit_status"]) == ("ended", 0)
        assert (told["runs"], told["runs_ended"]) == (2, 2)
        assert {(r["name"].partition("(")[0], r["status"]) for r in told["records"]} == {
            ("none", "completed"),
            ("power_limit", "unsupported"),
        }
        assert told["overrides"] == [*QUICK, "technique=none,power_limit"]
        assert told["log"] == f"a b/started/{begun['run']}.log"
        log = (place / told["log"]).read_text()
        assert "\x1b" not in log
        assert "[1/2]   measure" in log.splitlines()
        (row,) = one.told("results")["groups"][0]["rows"]
        assert row["name"] == "none"
        (mine,) = [r for r in told["records"] if r["status"] == "completed"]
        whole = one.told("results", run=mine["key"])
        assert whole["quality"][0]["change"]["value"] == 0  # the same model twice
        answer = one.ask("start", overrides=[*QUICK, "technique=power_limit"])
        assert answer.failed
        assert "power_limit" in answer.text
    assert (place / "a b" / "leaderboard.md").exists()
    assert len(load([place / "a b"]).records) == 2


def test_a_run_outlives_its_server_and_the_next_one_stops_it(place):
    with agent("results", "--allow-runs", cwd=place, errors=place / "errors") as one:
        run = one.told("start", overrides=FOR_EVER)["run"]
        refused = one.ask("start", overrides=[*QUICK, "technique=none"])
        assert refused.failed
        assert refused.text.startswith(f"Run {run} goes on in results, and two at once")
    assert f"greenbench: run {run} goes on without this server" in (place / "errors").read_text()
    with agent("results", "--allow-runs", cwd=place) as other:
        told = _once(other, run, lambda told: told["stage"] == "measure")
        assert (told["state"], told["runs"], told["runs_ended"]) == ("running", 1, 0)
        assert told["now"] == "smollm2-135m, none"
        for tool, words in (("doctor", {}), ("estimate", {"overrides": QUICK})):
            disturbing = other.ask(tool, **words)
            assert disturbing.failed
            assert "would disturb it" in disturbing.text
        assert other.ask("start", overrides=FOR_EVER).text.startswith(f"Run {run} goes on")
        bench = psutil.Process(told["pid"])
        family = [bench, *bench.children(recursive=True)]
        assert len(family) > 1
        assert other.told("stop", run=run)["state"] == "stopped"
        again = other.ask("stop", run=run)
        assert again.failed
        assert again.text == f"Run {run} has ended already: its status says how."
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive  # nothing of it goes on computing
    assert not load([place / "results"]).records
