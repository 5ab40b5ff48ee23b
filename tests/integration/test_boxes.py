"""Sweeps over the GPUs of a box, which NVML's stand-in shows: each run has its own device's joules."""

import os
import re
import subprocess
import sys
from datetime import datetime
from itertools import pairwise

import pytest

GPUS = [f"GPU-{number}{number * 7}-0000-1111-2222-333333333333" for number in range(1, 9)]
WATTS = {uuid: 80.0 * number for number, uuid in enumerate(GPUS, 1)}  # its limit is 700

THE_CPU_AS_A_GPU = '''
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    """What CUDA would say of the GPUs that NVML shows: the model itself runs on the CPU."""

    def find_spec(self, name, path, target=None):
        if name != "greenbench.machine.detect":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            real = module.detect

            def detect(device):
                from greenbench.machine.gpus import visible_uuids
                if device == "cpu":
                    return real(device)
                uuids = visible_uuids()[: None if device == "cuda_all" else 1]
                name = " + ".join(["Example GPU"] * len(uuids))
                return module.Machine("cpu", name, 1 << 34, uuids=tuple(uuids))

            module.detect = detect

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
'''


@pytest.fixture
def box(bench, plugin, gpu_environment, tmp_path):
    """Call with how many GPUs there are, each at a power of its own: `bench` on their machine."""

    def of(count):
        site = tmp_path / "site"
        site.mkdir()
        loopback = (plugin / "sitecustomize.py").read_text()
        (site / "sitecustomize.py").write_text(loopback + THE_CPU_AS_A_GPU)
        script = "".join(f"device {u}\npower {WATTS[u]}\ntick 0.01\n" for u in GPUS[:count])
        paths = os.pathsep.join([str(site), bench.environment["PYTHONPATH"]])
        fake = {name: gpu_environment(script)[name] for name in ("FAKE_NVML", "LD_LIBRARY_PATH")}
        bench.environment |= fake | {"PYTHONPATH": paths}
        bench.environment.pop("CUDA_VISIBLE_DEVICES", None)
        kept = [each for each in bench.quick if each != "device=cpu"]
        bench.quick = [*kept, "protocol.window_s=0.25", "device=cuda"]
        return bench

    return of


def uuids(record):
    return record["environment"]["device"]["uuids"]


def watts(window):
    """By the meter that counts the run's GPU."""
    span = window["energy"][0]
    assert span["meter"] == "nvml"
    return (span["end_j"] - span["start_j"]) / (span["end_s"] - span["start_s"])


def times(record):
    """When it had its device, in seconds; starts are told in whole ones."""
    began_s = datetime.fromisoformat(record["started_at"]).timestamp()
    return began_s, began_s + record["stages_s"]["total"]


def require_own_joules(records):
    for record in records:
        (mine,) = uuids(record)
        metered = [w for w in record["windows"] if w["phase"] in ("prefill", "generate")]
        assert metered
        # A busy machine reads the edges of windows late, by a tick or two.
        assert [watts(w) for w in metered] == pytest.approx([WATTS[mine]] * len(metered), rel=0.05)
        mean = sum(map(watts, metered)) / len(metered)
        assert mean == pytest.approx(WATTS[mine], rel=0.02)


def require_no_gpu_shared(records):
    for uuid in GPUS:
        spans = sorted(times(record) for record in records if uuid in uuids(record))
        for (_, end_s), (start_s, _) in pairwise(spans):
            assert start_s > end_s - 1.5


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("gpus", "runs", "others"), [(2, 3, 2), pytest.param(8, 24, 6, marks=pytest.mark.slow)]
)
def test_each_run_has_its_own_devices_joules_and_two_sweeps_never_share_a_gpu(
    box, gpus, runs, others
):
    bench = box(gpus)

    def seeds(first, count):
        return f"seed={','.join(map(str, range(first, first + count)))}"

    with (
        bench.start("--multirun", seeds(0, runs), "devices=all") as sweep,
        bench.start("--multirun", seeds(50, others), "devices=all", "results=others") as beside,
    ):
        said, _ = sweep.communicate(timeout=1700), beside.communicate(timeout=1700)
    assert (sweep.returncode, beside.returncode) == (0, 0), said
    records = bench.records()
    assert len(records) == runs
    assert {record["status"] for record in records} == {"completed"}
    assert {uuid for record in records for uuid in uuids(record)} == set(GPUS[:gpus])
    require_own_joules(records)
    bench.results = bench.directory / "others"
    beside_them = bench.records()
    assert len(beside_them) == others
    require_own_joules(beside_them)
    require_no_gpu_shared(records + beside_them)
    for record in records:
        assert record["environment"]["neighbours"] == {"runs": gpus - 1, "check": "not looked at"}
        assert not re.search("devices|neighbours", record["command"])
    leaderboard = (bench.directory / "results" / "leaderboard.md").read_text()
    assert f"check not looked at, runs {gpus - 1}" in leaderboard


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_group_of_gpus_is_one_device_whose_joules_are_the_sum(box):
    bench = box(4)
    status, output = bench.run("--multirun", "seed=0,1", "device_groups=[[0,2],[1,3]]")
    assert status == 0, output
    assert "2 jobs go to 2 groups of 2 GPUs of this machine" in output
    groups = {tuple(uuids(record)) for record in bench.records()}
    assert groups <= {(GPUS[0], GPUS[2]), (GPUS[1], GPUS[3])}
    for record in bench.records():
        both = sum(WATTS[uuid] for uuid in uuids(record))
        metered = [w for w in record["windows"] if w["phase"] in ("prefill", "generate")]
        assert [watts(w) for w in metered] == pytest.approx([both] * len(metered), rel=0.05)
        assert "device=cuda_all" in record["command"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_neighbours_are_looked_at_by_runs_alone_and_beside_them(box):
    bench = box(2)
    code = (
        "import sys; from greenbench.doctor import neighbours; neighbours.ROUNDS = 2; "
        "print(neighbours.check(print, sys.argv[1:]).model_dump_json())"
    )
    mine = [
        each
        for each in bench.quick
        if each.partition("=")[0] not in {"task", "workload", "protocol"}
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *mine],
        cwd=bench.directory, env=bench.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("neighbours: ")]
    assert [("alone" in line, "beside 1 that are busy" in line) for line in said] == [
        (True, False), (False, True), (True, False), (False, True), (True, False),
    ]  # fmt: skip
    status, told = bench.call("doctor")
    assert status == 0
    assert re.search(r"neighbours\s+runs beside each other|neighbours\s+energy_per_token", told)
    assert "1 busy" in " ".join(told.split())
