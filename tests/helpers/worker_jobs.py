"""What the worker tests run in a worker: top-level functions, as a worker needs them."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from greenbench.errors import Unsupported, UserError

IMPORTED_BY = os.getpid()


class OutOfMemoryError(RuntimeError):
    """Named as torch names the one that CUDA raises."""


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

    def __reduce__(self):
        raise TypeError("no pickle")


def add(one, two, *, progress):
    progress("add", 0, 2)
    progress("add", 2, 2)
    return one + two


def collector(*, progress):
    return gc.isenabled(), gc.get_freeze_count()


def keep(value, *, progress, then=None):
    progress.keep(0)
    progress.keep(value)
    if then == "hang":
        time.sleep(3600)
    if then:
        os.kill(os.getpid(), then)
    return value + 1


class Unreadable:
    """Can be sent, and not received."""

    def __reduce__(self):
        return int, ("no number",)


def keep_unreadable(*, progress):
    progress.keep(Unreadable())
    raise RuntimeError("no more")


def leak(variable, *, progress):
    raise ValueError(f"the server said {os.environ[variable]}")


def facts(*, progress):
    """Where this runs: who imported this module, own, parent's and session's id, variables."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("GB_")}
    return IMPORTED_BY, os.getpid(), os.getppid(), os.getsid(0), variables, os.getcwd()


def modules(*names, progress):
    return [name for name in names if name in sys.modules]


ERRORS = {
    "value": lambda: ValueError("first\nsecond"),
    "user": lambda: UserError("Say\n x=1."),
    "unsupported": lambda: Unsupported("No GPU: buy one."),
    "cuda": lambda: OutOfMemoryError("CUDA"),
    "cpu": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    "enomem": lambda: OSError(12, "Cannot allocate memory"),
    "unprintable": Unprintable,
}


def fail(kind, *, progress):
    progress("load", 1, 3)
    print("about to fail")
    raise ERRORS[kind]()


def eat_memory(*, progress):
    """A real MemoryError: more than the address space that is allowed."""
    held, _ = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), held))
    bytearray(1 << 30)


def eat_memory_in(cgroup, limit_file, limit, *, progress):
    """Grow beyond what a control group allows, until the kernel kills."""
    Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
    Path(cgroup, limit_file).write_text(str(limit))
    held = []
    while True:
        held.append(os.urandom(1 << 20))


def leave(code, *, progress):
    progress("score", 0, 1)
    os.write(2, b"leaving\n")
    os._exit(code)


def leave_politely(code, *, progress):
    sys.exit(code)


def die(number, *, progress):
    progress("measure", 0, 1)
    os.kill(os.getpid(), number)
    time.sleep(600)


def segfault(*, progress):
    ctypes.string_at(0)


def kill_forkserver(pids, *, progress):
    note(pids, [os.getpid()])
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def hang(pids, *, progress):
    """Never end; note the ids of this process, of two children (one in its own session), and the
    forkserver's."""
    progress("warmup", 1, 2)
    children = [
        subprocess.Popen(["sleep", "600"], start_new_session=session) for session in (False, True)
    ]
    note(pids, [os.getpid(), *(child.pid for child in children), os.getppid()])
    time.sleep(600)


def hang_with_the_lock(pids, *, progress):
    """Never end, and never let another thread of this process run."""
    note(pids, [os.getpid(), os.getppid()])
    re.match("(a+)+$", "a" * 80 + "b")


def note(path, pids):
    partial = Path(f"{path}.part")
    partial.write_text(" ".join(map(str, pids)))
    partial.replace(path)


def flood(*, progress):
    faulthandler.cancel_dump_traceback_later()  # which may crash a worker that is busy
    while True:
        progress("flood", 0, 1)


def unpicklable(*, progress):
    return threading.Lock()


class Hollow:
    """Goes into a pickle, but does not come out of it."""

    def __reduce__(self):
        return int, ("not a number",)


def hollow(*, progress):
    return Hollow()


def big(size, *, progress):
    return bytes(size)


def speak(*, progress):
    """Print from Python, from C's buffers, from a child, and straight to the descriptor."""
    print("from python, unfinished", end="")
    print("from stderr", file=sys.stderr)
    ctypes.CDLL(None).printf(b"from C\n")
    subprocess.run(["sh", "-c", "echo from a child"], check=True)
    os.write(1, "from the descriptor, \xe9\xff\n".encode("latin-1"))
    return "spoken"


def babble(lines, *, progress):
    """Much output, secrets and paths among it, then an error."""
    for number in range(lines):
        print(f"\x1b[1mline {number}\x1b[0m of /srv/secret place/x")
    print("\r".join(f"step {number}/9" for number in range(10)))
    print("token", os.environ["GB_TOKEN"], "in", "/srv/place/model.bin")
    raise RuntimeError(f"bad {os.environ['GB_TOKEN']} in /srv/place/model.bin")


def stutter(*, progress):
    """One long line of nothing but the secret, and a short one."""
    print(os.environ["GB_TOKEN"] * 2000)
    print("end")
    os._exit(1)


def leave_a_thread(*, progress):
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "done"


def leave_a_child(pids, *, progress):
    note(pids, [subprocess.Popen(["sleep", "600"]).pid])
    return "done"


def cuda_is_initialized(*, progress):
    import torch

    return torch.cuda.is_initialized()
