"""The worker's side of `greenbench.campaign.launch.local`: what runs in the forked process."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import gc
import io
import multiprocessing
import os
import pickle
import re
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.schema.record import Reason
from greenbench.scrub import hide

NO_MEMORY = re.compile(
    "not enough memory|can(no|')t allocate|out of memory|alloc_failed|bad_alloc", re.IGNORECASE
)


def work(
    sender: Connection, printer: Connection, job: bytes, environment: dict[str, str], limit_s: float
) -> None:
    """The worker's main: call the job's function and send what becomes of it."""
    os.setsid()
    _die_with_parent()
    _print_to(printer)
    faulthandler.enable()
    faulthandler.dump_traceback_later(limit_s)
    gc.freeze()  # what was imported for all workers
    gc.enable()
    os.environ.clear()
    os.environ.update(environment)

    sender.send(("began",))
    answer = _answer(job, _Progress(sender))
    ctypes.CDLL(None).fflush(None)  # C's own buffers, which else are lost
    sender.send(answer)


class _Progress:
    """What the function tells while it works."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender

    def __call__(self, stage: str, done: int, total: int, known: str = "") -> None:
        """How far it is."""
        self._sender.send(("progress", stage, done, total, known))

    def keep(self, value: Any) -> None:
        """Its value, should it end without another."""
        self._sender.send(("kept", _pickled(value)))


def _die_with_parent() -> None:
    """Have the kernel SIGKILL this process group when the parent, however it dies, is gone.

    Only the parent holds the other end of the sentinel pipe. A signal rather than a thread that
    waits: a hang that holds the interpreter's lock, as a runaway regex does, would starve a thread.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    pipe = parent.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC)
    if wait([pipe], timeout=0):  # it had died before
        os.killpg(0, signal.SIGKILL)


def _print_to(printer: Connection) -> None:
    """Send stdout and stderr, C code's and children's too, into the pipe, line by line."""
    for descriptor in (1, 2):
        os.dup2(printer.fileno(), descriptor)
    printer.close()
    sys.stdout, sys.stderr = _line_by_line(1), _line_by_line(2)


def _line_by_line(descriptor: int) -> io.TextIOWrapper:
    """A new stream: the old one may believe that it writes to a file, and a pipe cannot seek."""
    raw = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", line_buffering=True)


def _answer(
    job: bytes, progress: Callable[..., None]
) -> tuple[str, str | bytes] | tuple[str, Reason, str]:
    """Call the function. Only plain strings and bytes cross the pipe: those always arrive."""
    try:
        function, args = pickle.loads(job)
        return "value", _pickled(function(*args, progress=progress))
    except Exception as error:
        sys.stderr.write(hide(traceback.format_exc()))
        return "failure", _reason(error), _message(error)


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except (AttributeError, TypeError, pickle.PicklingError, RecursionError) as error:
        raise TypeError(f"its result cannot be pickled: {one_line(error)}") from error


def _reason(error: Exception) -> Reason:
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, UserError):
        return "user_error"
    if isinstance(error, EngineFault):
        return "engine"
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    told = isinstance(error, RuntimeError | OSError) and NO_MEMORY.search(one_line(error))
    return "out_of_memory" if named or told else "exception"


def _message(error: Exception) -> str:
    """The text of a user's error, or of an engine's, is a sentence already."""
    told = isinstance(error, UserError | EngineFault)
    return " ".join(str(error).split()) if told else one_line(error)


def one_line(error: Exception) -> str:
    """``Type: text`` on one line, even where the text cannot be had."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be had)"
    return " ".join(f"{type(error).__name__}: {text}".split())
