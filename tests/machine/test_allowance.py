"""What affinity and control groups leave of a machine, here and in made-up trees of both versions."""

import os
import subprocess
import sys

import psutil
import pytest

from greenbench.machine import allowance

GIB = 2**30
FREE = psutil.virtual_memory().available
UNLIMITED_V1 = 9223372036854771712


@pytest.fixture
def tree(tmp_path):
    """Call with files by path: a root that has them."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return make


@pytest.fixture
def many_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 64),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 64),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "9000000 100000"}, 64),
        (
            {  # a limit of the group above holds too
                "proc/self/cgroup": "0::/user/run",
                "sys/fs/cgroup/user/cpu.max": "300000 100000",
                "sys/fs/cgroup/user/run/cpu.max": "800000 100000",
            },
            3,
        ),
        (
            {  # a container that sees the host's path, and its own group as the top
                "proc/self/cgroup": "0::/../../docker/4711",
                "sys/fs/cgroup/cpu.max": "150000 100000",
            },
            1.5,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/x\n0::/x",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        ({"proc/self/cgroup": "nonsense", "sys/fs/cgroup/cpu.max": "1 2 3"}, 64),
    ],
)
def test_cpus_are_what_affinity_and_each_quota_leave(files, cpus, tree, many_cpus):
    assert allowance.cpus(tree(files)) == cpus
    assert allowance.threads(tree(files)) == max(1, int(cpus))


@pytest.mark.parametrize(("said", "cpus"), [("4", 4), ("100", 64), ("", 64), ("all", 64)])
def test_a_slurm_job_has_the_cpus_of_its_task(said, cpus, tree, many_cpus, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", said)
    assert allowance.threads(tree({})) == cpus


def test_half_a_cpu_still_runs_one_thread(tree, many_cpus):
    half = tree({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"})
    assert (allowance.cpus(half), allowance.threads(half)) == (0.5, 1)


@pytest.mark.parametrize(
    ("files", "total", "available"),
    [
        (
            {
                "proc/self/cgroup": "0::/job",
                "sys/fs/cgroup/job/memory.max": 2 * GIB,
                "sys/fs/cgroup/job/memory.current": GIB,
                "sys/fs/cgroup/job/memory.stat": f"anon 5\ninactive_file {GIB // 2}\nfile 7",
            },
            2 * GIB,
            2 * GIB - GIB // 2,
        ),
        (
            {
                "proc/self/cgroup": "0::/job",
                "sys/fs/cgroup/job/memory.max": "max",
                "sys/fs/cgroup/job/memory.high": GIB,
                "sys/fs/cgroup/job/memory.current": 2 * GIB,
            },
            GIB,
            0,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/1",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": 3 * GIB,
                "sys/fs/cgroup/memory/memory.usage_in_bytes": 2 * GIB,
                "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}",
                "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": UNLIMITED_V1,
            },
            3 * GIB,
            2 * GIB,
        ),
    ],
)
def test_memory_is_what_each_limit_leaves(files, total, available, tree):
    root = tree(files)
    assert allowance.memory_bytes(root) == min(total, psutil.virtual_memory().total)
    if available < FREE / 2:
        assert allowance.available_bytes(root) == available


def test_without_limits_it_is_the_machines(tree):
    root = tree({"proc/self/cgroup": "0::/\n4:memory:/"})
    assert allowance.memory_bytes(root) == psutil.virtual_memory().total
    assert allowance.available_bytes(root) == pytest.approx(FREE, rel=0.5)


PINNED = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ.pop("OMP_NUM_THREADS", None)
from pathlib import Path
import torch
from greenbench.errors import UserError
from greenbench.machine import allowance, surroundings
from greenbench.machine.detect import describe
from greenbench.meters.estimate import this_cpu
from greenbench.techniques.runtime.kernels_and_threads import Threads
torch.set_num_threads(7)  # as torch has by itself where only a quota is less
machine, facts = describe("cpu", progress=None)
assert facts["threads"]["torch"] == torch.get_num_threads() == 1
assert facts["cpu"]["cores_usable"] == this_cpu().usable == allowance.threads() == 1
assert machine.memory_bytes == facts["cpu"]["memory_usable_bytes"] == allowance.memory_bytes()
assert surroundings.memory()["total_bytes"] == allowance.memory_bytes()
try:
    Threads(2).check(machine, None)
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_all_that_counts_cpus_or_memory_counts_those_of_the_process():
    child = subprocess.run(
        [sys.executable, "-c", PINNED], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert "technique.threads.count=2 is out of range: allowed is 1 to 1 here." in child.stdout
