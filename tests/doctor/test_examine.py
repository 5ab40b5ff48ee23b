"""The doctor: what it says about this machine, as a person and a program read it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout

import pytest
from helpers import techniques

from greenbench.cli.main import main
from greenbench.doctor import examine, runnable
from greenbench.errors import Unsupported
from greenbench.machine import surroundings


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """What the command tells a program, where nothing was calibrated."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.setenv("GREENBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert main(["doctor", "--json"]) == 0
    return json.loads(said.getvalue())


def test_text_fits_a_terminal_and_says_all_of_it(findings):
    text = examine.as_text(findings)
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    for subject in examine.SUBJECTS:
        for name, said in findings[subject].items():
            assert name in words
            assert " ".join(said.removeprefix("ok: ").split()) in words


def test_marks_tell_what_works_from_what_does_not(findings):
    text = examine.as_text(findings | {"tasks": {"good": "ok", "bad": "it is missing."}})
    assert "  + good             ok" in text.splitlines()
    assert "  - bad              it is missing." in text.splitlines()


def test_a_program_is_told_all_of_it_and_facts(findings):
    assert set(examine.SUBJECTS) <= set(findings)
    assert findings["facts"]["calibration"] is None
    assert "doctor --calibrate" in findings["calibration"]["none"]
    memory = findings["facts"]["memory"]
    assert memory["available_bytes"] <= memory["total_bytes"]


def test_every_meter_answers_or_says_why_not(findings):
    assert {"nvml", "rapl", "zeus", "estimate", "wall"} <= set(findings["meters"])
    for said in findings["meters"].values():
        assert said.startswith("ok: ") or said.endswith(".")


def test_a_draft_that_is_not_here_is_said_to_be_fetched(findings):
    assert "not in the local hub cache" in findings["techniques"]["speculative"]
    assert findings["plug-ins"] == {"none": "ok: none is installed"}


def test_a_technique_is_judged_for_each_engine_that_is_here(findings):
    pytest.importorskip("xllamacpp")
    said = findings["techniques"]
    assert said["q8_0"] == "ok: a checkpoint (gguf): llama_cpp"
    assert said["prune_depth"].startswith("ok: a checkpoint (safetensors): llama_cpp")
    assert "in process: transformers" in said["prune_depth"]
    assert "option of transformers" in said["static_cache"]


def test_what_no_engine_here_runs_says_what_its_own_lacks(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_VLLM", str(tmp_path / "none"))
    monkeypatch.setenv("GREENBENCH_COMPRESSOR", str(tmp_path / "none"))
    assert "make engine-vllm VLLM=cpu" in runnable.verdict(
        runnable.technique, "ngram", techniques.CPU
    )
    assert runnable.verdict(runnable.compressor) == "its environment is not there: make compressor"


def test_a_gpu_that_is_too_old_is_a_line_and_all_else_is_told(monkeypatch):
    """As torch would say it: with its kernels, it sees a card that it cannot use."""
    real = examine.detect

    def detect(device):
        if device != "cpu":
            raise Unsupported("V100 has compute capability 7.0: take an older build.")
        return real(device)

    monkeypatch.setattr(examine, "detect", detect)
    monkeypatch.setattr(examine, "options", lambda group: [])  # which take long
    found = examine.examine(watch_s=0.1)
    assert found["hardware"]["cuda"] == "V100 has compute capability 7.0: take an older build."
    assert found["machine"]["device"]["device"] == "cpu"
    assert "V100" in examine.as_text(found)


SPIN = "print('on', flush=True)\nwhile True: pass"


def test_a_busy_neighbour_is_seen_and_named():
    with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as neighbour:
        neighbour.stdout.readline()
        try:
            load = surroundings.load(watch_s=1.0)
        finally:
            neighbour.kill()
    assert neighbour.pid in {process["pid"] for process in load["processes"]}
    assert load["other_cores_used"] > 0


def test_own_work_is_not_foreign_load():
    end_s = time.monotonic() + 0.3
    while time.monotonic() < end_s:
        pass
    load = surroundings.load(watch_s=0.3)
    assert os.getpid() not in {process["pid"] for process in load["processes"]}


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


CPU = "devices/system/cpu"
SUPPLY = "class/power_supply"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (None, None, None)),
        (
            {
                f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
                f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
                f"{CPU}/intel_pstate/no_turbo": "0",
            },
            ("performance", "on", None),
        ),
        (
            {
                f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil",
                f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave",
                f"{CPU}/cpufreq/boost": "0",
                f"{SUPPLY}/BAT0/type": "Battery",
                f"{SUPPLY}/BAT0/status": "Discharging",
                f"{SUPPLY}/BAT0/capacity": "80",
            },
            ("powersave, schedutil", "off", "battery, discharging, 80 %"),
        ),
        (
            {f"{SUPPLY}/mouse/type": "Battery", f"{SUPPLY}/mouse/scope": "Device"},
            (None, None, None),
        ),
    ],
)
def test_power_settings_are_read_and_absent_ones_null(tmp_path, files, expected):
    assert tuple(surroundings.power(tree(tmp_path, files)).values()) == expected


LOOK = "import json; from greenbench.machine import surroundings; print(json.dumps(surroundings.gpus()))"
H100 = "device GPU-aaaaaaaa-0000-1111-2222-333333333333\nname H100\npower 300\n"


def test_gpus_and_who_computes_on_them(with_gpu):
    (gpu,) = json.loads(with_gpu(H100 + "process 4711 1000\n", LOOK))
    assert gpu["name"] == "H100"
    assert gpu["compute_pids"] == [4711]
    assert gpu["memory_free_bytes"] is None  # this library does not say: null, never 0


def test_what_disturbs_a_run_has_its_remedy(with_gpu, monkeypatch):
    (gpu,) = json.loads(with_gpu(H100 + "process 4711 1000\n", LOOK))
    battery = {"governor": "powersave", "turbo": "on", "supply": "battery, discharging, 80 %"}
    monkeypatch.setattr(surroundings, "gpus", lambda: [gpu])
    monkeypatch.setattr(surroundings, "power", lambda: battery)
    found = examine.examine(watch_s=0.0)
    assert found["hardware"]["gpu 0"] == "ok: H100, free memory not reported"
    assert "4711: stop it" in found["load"]["gpu 0"]
    assert "cpupower" in found["power"]["governor"]
    assert found["power"]["turbo"].startswith("ok: on")
    assert "plug the machine in" in found["power"]["supply"]


@pytest.fixture
def strangers():
    """Call with a number: as many processes that are no children of this one."""
    pids = []

    def start(number):
        for _ in range(number):
            told = subprocess.check_output(["sh", "-c", "sleep 600 >&- 2>&- & echo $!"])
            pids.append(int(told))
        return pids

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("uses", "said"),
    [
        (
            (90,),
            r"^used by process {0}, of which 1 count as computing: .* invalid \(foreign_process\)$",
        ),
        ((90, 0), r"{0}, {1}, of which 1 count as computing: .* invalid \(foreign_process\)$"),
        (
            (0,),
            r"{0}, which only held memory just now: stop it, or runs are flagged \(idle_neighbour\), ",
        ),
    ],
)
def test_who_computes_on_a_gpu_is_told_from_who_only_holds_its_memory(
    fake_nvml, strangers, uses, said
):
    """As a run's windows would be: invalid, or flagged."""
    pids = strangers(len(uses))
    lines = [f"process {pid} 1000 {use}\n" for pid, use in zip(pids, uses, strict=True)]
    fake_nvml(H100 + "".join(lines))
    load = {"load_average_1min": 0, "cores": 1, "other_cores_used": 0, "codes": []}
    load |= {"stolen_cores": 0, "processes": []}
    found = examine._load(load, surroundings.gpus(), examine._company())
    assert re.search(said.format(*pids), found["gpu 0"])


def test_where_the_driver_does_not_tell_who_computes_both_are_told():
    said = examine._shared([4711], None)
    assert said.startswith(
        "used by process 4711: stop it, or runs are flagged (idle_neighbour), and "
    )
    assert "invalid where it computes (foreign_process)" in said
