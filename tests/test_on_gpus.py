"""Sweeps on several GPUs: their worst status, and none left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from helpers.servers import none_marked

ROOT = Path(__file__).parents[1]
DRIVER = """
import subprocess, sys
sys.path.insert(0, "tools")
import on_gpus
started = [subprocess.Popen([sys.executable, "-c", code, *sys.argv[1:]]) for code in {codes}]
sys.exit(on_gpus._worst(started))
"""
SLEEPS = "import time; time.sleep(600)"


def ended(*codes):
    return subprocess.run([sys.executable, "-c", DRIVER.format(codes=codes)], cwd=ROOT, check=False)


def test_the_worst_status_is_told_and_a_signal_is_none_that_is_good():
    assert ended("pass", "pass").returncode == 0
    assert ended("pass", "raise SystemExit(1)").returncode == 1
    killed = f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})"
    assert ended("pass", killed).returncode == 128 + signal.SIGKILL


def test_who_is_told_to_end_ends_them_all():
    mark = f"sweep-{os.getpid()}"
    code = DRIVER.format(codes=[SLEEPS, SLEEPS])
    running = subprocess.Popen([sys.executable, "-c", code, mark], cwd=ROOT)
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        if len(psutil.Process(running.pid).children()) == 2:
            break
        time.sleep(0.05)
    running.terminate()
    assert running.wait(60) == 128 + signal.SIGTERM
    assert none_marked(mark)
