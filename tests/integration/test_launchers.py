"""Sweeps on a real Slurm of this machine and a real Ray: nothing is lost, and nothing run twice."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "one_node_slurm.sh"
DAEMONS = ("sbatch", "munged", "slurmctld", "slurmd")
SWEEP = ("--multirun", "technique=none,fp32", "seed=0,1,2")
SIX = 6


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Environment of a cluster of this machine alone."""
    found = [shutil.which(each, path=f"{os.environ['PATH']}:/usr/sbin") for each in DAEMONS]
    if not all(found) or os.geteuid():
        pytest.skip("needs root and Debian's slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SCRIPT, "start", folder], check=True, timeout=120)
    yield {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run([SCRIPT, "stop", folder], check=True, timeout=60)


@pytest.fixture
def cluster(bench, slurm):
    """`bench` where jobs go to that cluster."""
    bench.environment |= slurm
    bench.quick += ["launcher=slurm", "launcher.exclusive=false", "launcher.cpus=1"]
    return bench


def of_job(bench, number):
    """The process that measures a job's run, once it is there."""
    for _ in range(600):
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            mine = "--part" in words and words[-1].startswith(str(bench.directory))
            if mine and words[-1].endswith(f"/{number}.json"):
                return process
        time.sleep(0.1)
    raise AssertionError(f"job {number} never ran")


def queue(bench):
    command = ["squeue", "--noheader", "--array", "--format=%i"]
    told = subprocess.run(
        command, env=bench.environment, capture_output=True, text=True, check=True
    )
    return told.stdout.split()


def emptied(bench):
    """Whether nothing is left in the queue; what has answered is in it for a moment more."""
    for _ in range(150):
        if not queue(bench):
            return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_cancelled_or_killed_is_not_lost_and_nothing_is_run_twice(cluster):
    with cluster.start(*SWEEP, "launcher.at_once=1") as sweep:
        of_job(cluster, 1).kill()
        last = max(queue(cluster), key=lambda name: int(name.partition("_")[2]))
        subprocess.run(["scancel", last], env=cluster.environment, check=True)
        output = sweep.stdout.read()
    assert "job 1 was lost (it was killed): it is sent once more" in output
    assert "] no run was begun: it was taken out of Slurm's queue" in output
    assert f"1 of {SIX} jobs began no run ({SIX};" in output
    assert sweep.returncode == 2
    first = {record["key"]: record["started_at"] for record in cluster.records()}
    assert len(first) == SIX - 1
    assert {record["status"] for record in cluster.records()} == {"completed"}
    assert (cluster.results / "leaderboard.md").exists()
    assert emptied(cluster)

    status, output = cluster.run(*SWEEP)
    assert status == 0, output
    records = {record["key"]: record["started_at"] for record in cluster.records()}
    assert len(records) == SIX
    assert first.items() < records.items()  # the others were not measured again
    assert output.count("\nwrote results/leaderboard.md") == 1
    commands = " ".join(record["command"] for record in cluster.records())
    assert "launcher" not in commands


def test_a_job_whose_machine_takes_it_along_twice_is_a_failure_in_the_record(cluster):
    """As if its node died: the batch script and all that it started are killed."""
    with cluster.start("technique=none") as run:
        for _ in range(2):
            process = of_job(cluster, 1)
            part = Path(process.cmdline()[-1])
            while not part.exists():
                time.sleep(0.05)
            for each in (*process.parents()[:2], process, *process.children(recursive=True)):
                if each.pid != os.getpid() and "slurm" not in each.name():
                    each.kill()
            psutil.wait_procs([process], timeout=30)
        output = run.stdout.read()
    assert run.returncode == 1, output
    assert output.count("it is sent once more") == 1
    (record,) = cluster.records()
    assert (record["status"], record["failure"]["reason"]) == ("failed", "killed")
    assert "its job, or the machine, was stopped" in output


def test_a_sweep_that_is_ended_takes_its_jobs_back(cluster):
    with cluster.start(*SWEEP, "launcher.at_once=1") as sweep:
        of_job(cluster, 1)
        sweep.terminate()
        output = sweep.stdout.read()
    assert "Traceback" not in output
    assert emptied(cluster)


def test_a_run_that_fails_or_cannot_be_is_told_as_it_is_here(cluster):
    status, output = cluster.run(
        "--multirun", "technique=outside", "technique.outside.fail=raise,kill"
    )
    assert status == 1
    assert {record["failure"]["reason"] for record in cluster.records()} == {"exception", "killed"}
    assert "2 failed" in output
    status, output = cluster.run("technique=power_limit", "technique.power_limit.watts=100")
    assert status == 1, output
    assert "unsupported" in {record["status"] for record in cluster.records()}
    status, output = cluster.run("technique=none", "launcher.partition=nowhere")
    assert status == 2
    assert "Slurm does not take the jobs" in output
    assert "Traceback" not in output


def test_without_slurm_and_with_knobs_of_others_it_is_one_sentence(bench):
    bench.environment["PATH"] = "/nowhere"
    status, output = bench.run("technique=none", "launcher=slurm")
    assert (status, output.count("\n")) == (2, 1)
    assert "needs Slurm's commands, which are not here" in output
    for word, said in (
        ("launcher.partition=gpu", "launcher.partition says nothing of launcher=local"),
        ("launcher=local,slurm", "one launcher"),
        ("hydra/launcher=submitit_slurm", "launcher=slurm or launcher=ray says where runs run"),
    ):
        status, output = bench.run("--multirun", "technique=none,fp32", word)
        assert status == 2
        assert said in output


@pytest.mark.timeout(1000)
def test_a_ray_cluster_leaves_the_records_that_this_machine_leaves(bench):
    pytest.importorskip("ray")
    with bench.start(*SWEEP, "launcher=ray", "results=there") as sweep:
        output, _ = sweep.communicate(timeout=700)
    assert sweep.returncode == 0, output
    status, output = bench.run(*SWEEP)
    assert status == 0, output
    here, there = (
        {path.name for path in (bench.directory / folder / "records").glob("*.json")}
        for folder in ("results", "there")
    )
    assert here == there
    assert len(here) == SIX
    assert (bench.directory / "there" / "leaderboard.md").exists()


@pytest.fixture
def head(bench, tmp_path):
    """Address and process of a Ray cluster of the same user's that is there already."""
    pytest.importorskip("ray")
    bench.environment["RAY_AUTH_MODE"] = (
        "token"  # which it starts with, and a given address asks for
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ray") as short:  # sockets have short names
        bench.environment["RAY_TMPDIR"] = short  # in which the latest cluster's address is kept
        words = f"start --head --block --num-cpus=1 --port={port}".split()
        with (
            (tmp_path / "ray.log").open("w") as log,
            subprocess.Popen(
                [Path(sys.executable).with_name("ray"), *words, "--include-dashboard=false"],
                stdout=log, stderr=log, env=bench.environment, start_new_session=True,
            ) as started,
        ):  # fmt: skip
            while started.poll() is None and not list(Path(short).rglob("ray_current_cluster")):
                time.sleep(0.1)
            yield f"127.0.0.1:{port}", started
            os.killpg(started.pid, signal.SIGTERM)


@pytest.mark.timeout(600)
def test_a_ray_cluster_that_is_there_is_found_used_and_stays(bench, head):
    address, cluster = head
    status, output = bench.run("technique=none", "launcher=ray", "launcher.address=auto")
    assert status == 0, output
    assert "1 jobs go to ray" in output
    (record,) = bench.records()
    assert record["status"] == "completed"
    words = ("launcher=ray", f"launcher.address={address}", "launcher.cpus=4096")
    status, output = bench.run("technique=none", *words)
    assert status == 2
    assert "No machine of the Ray cluster has 4096 of CPU" in output
    assert cluster.poll() is None
