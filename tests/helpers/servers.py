"""The fake server as a program, and what of it is left."""

import json
import sys
import time
from pathlib import Path

import psutil

from greenbench.engines.serving.server import Program
from helpers.fakes import openai_server

FAKE = str(Path(openai_server.__file__))


def program(limit_s=20.0, **script):
    """It, as it is to be started."""
    return Program(
        "fake",
        lambda port: [sys.executable, FAKE, str(port), json.dumps(script)],
        limit_s=limit_s,
    )


def alive(pids):
    """Those that live; what has ended and waits for its parent has ended."""
    found = set()
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.add(pid)
        except psutil.Error:
            pass
    return found


def gone(pids, within_s=10.0):
    """Whether none of them is left in time."""
    end_s = time.monotonic() + within_s
    while alive(pids) and time.monotonic() < end_s:
        time.sleep(0.02)
    return not alive(pids)


def marked(mark):
    """Processes whose command line has `mark` in it."""
    found = set()
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.Error:
            pass
    return found


def none_marked(mark, within_s=10.0):
    """Whether none is left in time; looked at twice, as one may be born of another while it is looked for."""
    end_s = time.monotonic() + within_s
    while (left := marked(mark) or marked(mark)) and time.monotonic() < end_s:
        time.sleep(0.02)
    return not left
