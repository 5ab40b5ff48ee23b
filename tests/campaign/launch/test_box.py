"""Tasks on shares of this machine: one at a time on each, and none left behind."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from greenbench.campaign.launch.box import Box
from greenbench.campaign.launch.launcher import Task

SLOTS = [("GPU-0",), ("GPU-1",)]
SHARE = """
import os, pathlib, sys, time
mine = pathlib.Path(sys.argv[1], os.environ["CUDA_VISIBLE_DEVICES"])
mine.mkdir()  # fails where another is on it
time.sleep(0.2)
mine.rmdir()
"""


@pytest.fixture
def task(tmp_path):
    def make(number, code, *words):
        return Task(
            number, (sys.executable, "-c", code, *map(str, words)), tmp_path / f"{number}.log"
        )

    return make


def test_each_share_has_one_task_at_a_time(task, tmp_path):
    tasks = [task(number, SHARE, tmp_path) for number in range(7)]
    with Box(SLOTS).running(tasks) as all_of_them:
        ended = list(all_of_them)
    assert sorted(each.task.number for each in ended) == list(range(7))
    assert {each.fate for each in ended} == {"ended"}
    assert not any(each.log.read_text() for each in tasks)  # no mkdir failed


def test_what_a_task_prints_is_in_its_log(task):
    code = (
        "import os; os.write(1, b'out '); os.write(2, os.environ['CUDA_VISIBLE_DEVICES'].encode())"
    )
    one = task(1, code)
    with Box([("GPU-0", "GPU-5")]).running([one]) as all_of_them:
        (ended,) = all_of_them
    assert (ended.fate, one.log.read_text()) == ("ended", "out GPU-0,GPU-5")


def test_one_that_is_killed_is_lost_and_one_that_fails_has_ended(task):
    killed = task(1, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with Box(SLOTS).running([killed, task(2, "raise SystemExit(2)")]) as all_of_them:
        fates = {each.task.number: each.fate for each in all_of_them}
    assert fates == {1: "lost", 2: "ended"}


def test_what_leaves_early_stops_what_still_runs(task, tmp_path):
    code = (
        "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); "
        "time.sleep(600)"
    )
    asleep = tmp_path / "asleep"
    os.mkfifo(asleep)
    pids = []
    with Box(SLOTS).running([task(1, code, asleep), task(2, "")]) as all_of_them:
        starts = threading.Thread(target=lambda: pids.append(int(asleep.read_text())))
        starts.start()  # each end of a pipe waits for the other
        next(all_of_them)
        starts.join()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_part_ends_with_the_sweep_that_began_it(tmp_path):
    """Even if that is killed: nobody would be left to gather what it measures."""
    child = (
        "import time; from greenbench.machine.processes import end_with_parent; end_with_parent(); "
        "print('ready', flush=True); time.sleep(600)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as sweep:
        assert sweep.stdout.readline() == b"ready\n"
        sweep.send_signal(signal.SIGKILL)
        assert sweep.stdout.read() == b""  # the child held the other end
