"""What a run's own processes use counts, whoever they are; what others use does not."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from greenbench.machine import memory
from greenbench.machine.processes import OwnProcesses

BUSY = "import time\nwhile time.process_time() < 0.3: pass\n"
SERVE = f"{BUSY}print('done', flush=True)\nimport sys; sys.stdin.read()"
APART = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
    "stdin=0, start_new_session=True); print(child.pid, flush=True)"
)


@contextmanager
def child(code):
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        yield process
        process.stdin.close()


def test_a_childs_work_counts_while_it_lives_and_after_it_was_reaped():
    own = OwnProcesses()
    before_s = own.cpu_s()
    with child(SERVE) as process:
        own.refresh()
        assert process.pid in own.pids
        process.stdout.readline()
        living_s = own.cpu_s()
        assert living_s - before_s >= 0.3
    own.refresh()
    assert process.pid not in own.pids
    assert own.cpu_s() == pytest.approx(living_s, abs=0.15)
    assert own.cpu_s() >= living_s


def test_a_child_that_was_born_and_ended_between_two_looks_counts():
    own = OwnProcesses()
    before_s = own.cpu_s()
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    assert own.cpu_s() - before_s >= 0.3


def test_a_server_that_is_no_child_counts_once_it_is_named():
    """Its parent has ended, so that it is no descendant of ours."""
    own = OwnProcesses()
    with subprocess.Popen(
        [sys.executable, "-c", APART, SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        pid = int(parent.stdout.readline())
        parent.stdout.readline()
        own.refresh()
        assert pid not in own.pids
        before_s = own.cpu_s()
        own.add([pid])
        assert pid in own.pids
        named_s = own.cpu_s()
        assert named_s - before_s >= 0.3
        assert own.held_bytes() > memory.host_peak_bytes([pid]) / 2
        parent.stdin.close()
    deadline_s = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline_s:
        pass
    own.refresh()
    assert own.cpu_s() >= named_s, "what a server has used stays used"
