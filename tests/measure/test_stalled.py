"""A process that stood still while it was metered: a real one, stopped and continued."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from greenbench.machine.standstill import BEAT_S, STILL_S

RECORDED = """
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters

recorder = Recorder(OpenMeters(), watched=())
with recorder.whole("generate", "baseline"):
    work()
print(recorder.windows[-1].validity, "stalled" in recorder.windows[-1].codes)
"""
METERED = """
import greenbench

with greenbench.metered(["estimate"]) as window:
    work()
print(window.validity, "stalled" in window.codes)
"""
WAITS = """
import sys
def work():
    print("begun", flush=True)
    sys.stdin.readline()
"""
HOLDS_ON = """
import time
def work():  # C that lets no other thread have the interpreter
    count, began_s = 10**7, time.monotonic()
    while True:
        since_s = time.monotonic()
        sum(range(count))
        if time.monotonic() - since_s > 2:
            return
        count *= 2
"""


def started(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def stopped(process, seconds):
    process.send_signal(signal.SIGSTOP)
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        pass
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("metering", [RECORDED, METERED])
def test_a_window_in_which_the_process_was_stopped_is_invalid(metering):
    with started(WAITS + metering) as process:
        assert process.stdout.readline() == "begun\n"
        stopped(process, STILL_S + 2 * BEAT_S)
        assert process.communicate("\n")[0] == "invalid True\n"


def test_who_waits_for_long_has_not_stood_still():
    def waited():
        with started(WAITS + RECORDED) as waits:
            assert waits.stdout.readline() == "begun\n"
            time.sleep(STILL_S + 2 * BEAT_S)
            return waits.communicate("\n")[0]

    assert "valid False\n" in tries(waited)


def test_who_works_for_long_has_not_stood_still():
    def worked():
        with started(HOLDS_ON + RECORDED) as works:
            return works.communicate()[0]

    assert "valid False\n" in tries(worked)


def tries(work):
    """Three, as a shared machine may stand still in one of them: its own host stops it for seconds."""
    return (work() for _ in range(3))
