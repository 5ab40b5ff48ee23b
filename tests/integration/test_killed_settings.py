"""Sweeps whose runs die while they hold a GPU's power limit: real processes, a driver that remembers."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

UUID = "GPU-11111111-2222-3333-4444-555555555555"
PLUGIN = '''
"""A technique that dies while the candidate runs."""

import os, signal, time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from greenbench.schema.technique import Promise
from greenbench.techniques import MachineSetting


@dataclass(frozen=True)
class Dies(MachineSetting):
    name: ClassVar[str] = "dies"
    summary: ClassVar[str] = "dies while the candidate runs"
    how: str = "SIGKILL"

    def promise(self):
        return Promise(bytes_ratio=1.0, note="nothing")

    @contextmanager
    def hold(self, machine, observed):
        print("limit", open(os.environ["FAKE_STATE"]).read().split()[0])
        if self.how == "raise":
            raise RuntimeError("told to raise")
        if self.how == "hang":
            time.sleep(3600)
        os.kill(os.getpid(), getattr(signal, self.how))
        yield
'''
AS_GPU = f"""
from greenbench.machine import detect
detect.detect = lambda device: detect.Machine("cpu", "fake GPU", 1 << 34, uuids=({UUID!r},))
"""
YAML = "defaults: [schema/dies, _self_]\ndies:\n  how: SIGKILL\n"


@pytest.fixture
def sweep(tiny_directory, gpu_environment, tmp_path):
    """Starts ``greenbench bench`` with a power limit of 300 W and then a technique that dies."""
    package = tmp_path / "site" / "dies_plugin"
    info = tmp_path / "site" / "dies_plugin-1.0.dist-info"
    (package / "conf" / "technique").mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (tmp_path / "site" / "sitecustomize.py").write_text(AS_GPU)  # in every process
    (package / "conf" / "technique" / "dies.yaml").write_text(YAML)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dies-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[greenbench.techniques]\ndies = dies_plugin\n")
    state = tmp_path / "state"
    script = f"device {UUID}\npower 600\ntick 0.02\nlimit 700 200 700\nstate {state}\n"
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    environment = gpu_environment(script) | {
        "PYTHONPATH": path, "FAKE_STATE": str(state), "GREENBENCH_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    quick = [
        "model=local", f"model.path={tiny_directory}", "task=smoke", "task.items=2",
        "workload=short", "workload.prompt_tokens=8", "workload.output_tokens=3", "protocol=smoke",
        "protocol.window_s=0.3", "protocol.warmup_s=0", "protocol.warmup_limit_s=0",
        "protocol.idle_s=0.1", "device=cpu",
    ]  # fmt: skip

    def start(*overrides):
        return subprocess.Popen(
            [sys.executable, "-m", "greenbench", "bench", *quick, *overrides],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    start.limit_w = lambda: int(state.read_text().split()[0]) / 1000
    start.journals = lambda: list((tmp_path / "cache" / "settings").glob("*/*.json"))
    start.records = lambda: [
        json.loads(file.read_text()) for file in (tmp_path / "results" / "records").glob("*.json")
    ]
    return start


LIMITED = ("technique=[power_limit,dies]", "technique.power_limit.watts=300")
BACK = f"The power limit of {UUID} was set back to 700 W, as the run that had changed it is gone."


def test_whatever_kills_a_worker_its_parent_restores(sweep):
    process = sweep("--multirun", *LIMITED, "technique.dies.how=SIGKILL,SIGTERM,raise")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 1, output
    assert output.count(BACK) == 2  # what raised has given it back itself
    assert sweep.limit_w() == 700
    assert sweep.journals() == []
    failures = {
        record["spec"]["technique"][1]["how"]: record["failure"] for record in sweep.records()
    }
    assert {how: failure["reason"] for how, failure in failures.items()} == {
        "SIGKILL": "killed", "SIGTERM": "killed", "raise": "exception",
    }  # fmt: skip
    assert all("limit 300000" in failure["log_tail"] for failure in failures.values())


def until_limited(sweep, process):
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        # `apply` holds it once, briefly, before `dies` hangs with it.
        if len(sweep.journals()) == 1 and sweep.limit_w() == 300:
            return
        time.sleep(0.05)
    pytest.fail("the limit was never set")


def hung(sweep):
    """A sweep that holds the limit, and goes on holding it."""
    process = sweep(*LIMITED, "technique.dies.how=hang")
    until_limited(sweep, process)
    return process


def killed(process, family, timeout_s):
    """Only the sweep itself, and then wait for its `family` to go."""
    process.kill()
    process.wait()
    psutil.wait_procs(family, timeout=timeout_s)


@pytest.mark.slow
def test_a_sweep_that_is_terminated_restores_before_it_goes(sweep):
    process = hung(sweep)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "Traceback" not in output
    assert sweep.limit_w() == 700
    assert sweep.journals() == []


@pytest.mark.slow
def test_what_a_sweep_held_that_was_killed_comes_back_without_another(sweep):
    process = hung(sweep)
    family = psutil.Process(process.pid).children(recursive=True)
    killed(process, family, timeout_s=60)  # the watchdog is among them, and the last
    assert sweep.limit_w() == 700
    assert sweep.journals() == []


@pytest.mark.slow
def test_a_sweep_that_starts_after_a_crash_of_all_restores_first(sweep):
    process = hung(sweep)
    family = psutil.Process(process.pid).children(recursive=True)
    for each in family:  # none is left that would
        if "greenbench.machine.settings_watchdog" in each.cmdline():
            each.kill()
    killed(process, family, timeout_s=30)
    assert sweep.limit_w() == 300
    assert len(sweep.journals()) == 1
    output, _ = sweep("technique=none").communicate(timeout=200)
    assert output.index(BACK) < output.index("none")
    assert sweep.limit_w() == 700
    assert sweep.journals() == []
