"""Keeps one program: starts it in a session of its own, and ends all of it when the run is gone.

A run starts this file as a script and holds the other end of the pipe that is its standard input. That
pipe ends whatever the run dies of, SIGKILL included, and with it ends the program: its group first, then
on Linux every descendant, whichever group it has moved to.

    keeper.py LOG GRACE_S PROGRAM [ARGUMENT ...]

Prints the program's process id, and exits as the program does. It imports nothing of ours, so that it
is there at once and takes no memory.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
LOOK_S = 0.2
"""Between two looks, where the system has no handle of a process to wait for."""


def main(log: str, grace_s: str, *command: str) -> int:
    """Run `command` until it ends or standard input does; its exit code, 128 and more for a signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the run decides what that ends
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    with open(log, "ab", buffering=0) as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  # one thread
        )
    try:
        print(child.pid, flush=True)
        _wait(child)
    finally:
        end(child, float(grace_s))
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _wait(child: "subprocess.Popen[bytes]") -> None:
    """Until the program has ended, or the run is gone."""
    handles = [sys.stdin.fileno()]
    patience_s: float | None = LOOK_S
    with suppress(AttributeError, OSError):  # no Linux, or an old one
        handles.append(os.pidfd_open(child.pid))
        patience_s = None
    while child.poll() is None:
        ready = select.select(handles, [], [], patience_s)[0]
        if handles[0] in ready and not os.read(handles[0], 1):
            return


def end(child: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Nothing of the program is left; it has `grace_s` to end by itself."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(grace_s)
    _signal_group(child.pid, signal.SIGKILL)
    while orphans := _children():
        for pid in orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    child.poll()


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _children() -> "list[int]":
    """Those that live, orphans of the program's among them: on Linux they are given to this process."""
    with suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as stream:
        return [int(pid) for pid in stream.read().split()]
    return []


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
