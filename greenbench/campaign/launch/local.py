"""Run one function in its own process, without paying the imports again.

Why a forkserver: a fresh interpreter pays seconds of imports in every run, and a fork of the sweep
itself would inherit its threads, its locks and its memory. The forkserver imports the heavy modules
once, then does nothing but fork clean workers from itself. CUDA does not survive a fork, so nothing
but imports happens there: those of torch and transformers do not initialise it.
"""

from __future__ import annotations

import io
import multiprocessing
import multiprocessing.forkserver
import os
import pickle
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from greenbench.campaign.launch import local_child
from greenbench.campaign.launch.local_child import one_line
from greenbench.errors import UserError
from greenbench.schema.record import Failure, Reason
from greenbench.scrub import scrub

UNCOLLECTED = "greenbench.campaign.launch.uncollected"
"""Named, not imported: this process does collect."""
TAIL_LINES, TAIL_BYTES, MESSAGE_LENGTH = 40, 16384, 500
TRACEBACK_S = 0.5  # a hung worker gets this long to write where it hangs
LONGEST_S = 7 * 24 * 3600.0  # poll(2) knows no longer time limit than some weeks
LEAVE_S = 10.0  # a worker that has answered, or was killed, gets this long to be gone
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Progress(NamedTuple):
    """How far a worker is: `done` of `total` steps of a stage."""

    stage: str
    done: int
    total: int
    known: str
    """What they have shown by now."""


class Outcome(NamedTuple):
    """What became of a call: its value, or its failure and what it had kept until then."""

    value: Any
    failure: Failure | None
    duration_s: float
    start_s: float | None
    """Wall seconds until the worker was at work; null if it never was."""


class Workers:
    """Runs functions in processes of their own, one after the other.

    The modules in `preload` are imported once for all; environment variables that they read when
    imported must be set before the first use. A worker sees the caller's environment of its call.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = [UNCOLLECTED, local_child.__name__, *preload]
        self._context = multiprocessing.get_context("forkserver")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the forkserver, which otherwise lives as long as this process."""
        server: Any = multiprocessing.forkserver._forkserver
        if server._forkserver_pid is not None:
            os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()

    def start(self) -> None:
        """Begin to import the modules in the background; returns at once."""
        self._context.set_forkserver_preload(self._preload)
        with self._explained():
            multiprocessing.forkserver.ensure_running()

    def call(
        self,
        function: Callable[..., Any],
        *args: Any,
        time_limit_s: float,
        log_path: Path | None,
        on_progress: Callable[[Progress], None],
    ) -> Outcome:
        """Call ``function(*args, progress=...)`` in a new process; its failure is an outcome.

        `function` is picklable; ``progress(stage, done, total)`` reaches `on_progress`, and what it gives
        ``progress.keep`` last is the value beside its failure. All that the worker and its children print
        goes to `log_path`. Raises UserError where no process can be started.
        """
        begin_s, oom_kills = time.monotonic(), _oom_kills()
        job = pickle.dumps((function, args))
        self.start()
        with self._explained():
            worker = _Worker(self._context, job, time_limit_s, log_path)
        try:
            worker.follow(on_progress)
        finally:
            worker.stop()
        value, failure = worker.outcome(memory_ran_out=_oom_kills() > oom_kills)
        start_s = None if worker.began_s is None else worker.began_s - begin_s
        return Outcome(value, failure, time.monotonic() - begin_s, start_s)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise UserError(
                f"No worker process can be started ({one_line(error)}): check that Python can "
                f"import {', '.join(self._preload)} and that the temporary directory is writable."
            ) from error


class _Worker:
    """One process, from its start to its end, seen from its parent."""

    def __init__(
        self,
        context: multiprocessing.context.ForkServerContext,
        job: bytes,
        time_limit_s: float,
        log_path: Path | None,
    ) -> None:
        self._limit_s = min(time_limit_s, LONGEST_S)
        self._messages, sender = context.Pipe(duplex=False)
        output, printer = context.Pipe(duplex=False)
        with sender, printer:  # the parent's copies must be closed, or the pipes would never end
            task = (sender, printer, job, dict(os.environ), self._limit_s)
            self._process = context.Process(target=local_child.work, args=task)
            self._process.start()
        self._deadline_s = time.monotonic() + self._limit_s + TRACEBACK_S
        self._log = _Log(output, log_path)
        self._answer: tuple[Any, ...] = ()
        self._kept: bytes | None = None
        self._stage: str | None = None
        self._expired = False
        self.began_s: float | None = None

    def follow(self, on_progress: Callable[[Progress], None]) -> None:
        """Pass progress on until the worker has answered, is gone or has used up its time."""
        while not self._answer and (message := self._receive()):
            match message:
                case ("began",):
                    self.began_s = time.monotonic()
                case ("progress", stage, done, total, known):
                    self._stage = stage
                    on_progress(Progress(stage, done, total, known))
                case ("kept", data):
                    self._kept = data
                case _:
                    self._answer = message
        self._process.join(LEAVE_S if self._answer else self._left_s())
        # Its limit, not its end, is the reason, even if writing the traceback has crashed it.
        self._expired = not self._answer and self._left_s() < TRACEBACK_S

    def _receive(self) -> tuple[Any, ...] | None:
        """The next message; null once none can come."""
        ready = wait([self._messages, self._process.sentinel], self._left_s())
        if self._messages in ready and self._left_s() > 0:
            with suppress(EOFError, OSError):  # it died before or while it sent
                message: tuple[Any, ...] = self._messages.recv()
                return message
        return None

    def _left_s(self) -> float:
        return max(0.0, self._deadline_s - time.monotonic())

    def stop(self) -> None:
        """Leave nothing of the worker running."""
        pid = self._process.pid
        assert pid is not None
        if self._process.exitcode is None:
            _kill(pid)
        with suppress(ProcessLookupError):  # orphans of its group
            os.killpg(pid, signal.SIGKILL)
        self._process.join(LEAVE_S)
        self._log.join(LEAVE_S)  # not for ever: a stray grandchild may hold the pipe
        self._messages.close()

    def outcome(self, memory_ran_out: bool) -> tuple[Any, Failure | None]:
        """The value, or the failure and what was kept until then.

        `memory_ran_out`: the kernel killed for memory meanwhile.
        """
        reason: Reason
        match self._answer:
            case ("value", data):
                try:
                    return pickle.loads(data), None
                except Exception as error:
                    reason, message = "exception", f"Its result is unreadable: {one_line(error)}"
            case ("failure", reason, message):
                pass
            case _ if self._expired:
                reason, message = "time_limit", f"It reached its limit of {self._limit_s:g} s."
            case _:
                reason, message = _death(self._process.exitcode, memory_ran_out)
        message = scrub(message)[:MESSAGE_LENGTH]
        tail = self._log.tail()
        failure = Failure(reason=reason, message=message, phase=self._stage, log_tail=tail)
        with suppress(
            Exception
        ):  # of what was kept as well: it is no more readable than any result
            return (None if self._kept is None else pickle.loads(self._kept)), failure
        return None, failure


class _Log(threading.Thread):
    """Drains a worker's output into its log, as far as the disk allows, and remembers the end."""

    def __init__(self, output: Connection, path: Path | None) -> None:
        super().__init__(daemon=True)
        self._output, self._path = output, path
        self._end, self._cut = b"", False
        self.start()

    def run(self) -> None:
        """Read until every process that holds the other end is gone."""
        file = _open_log(self._path)
        with self._output, file:
            while chunk := os.read(self._output.fileno(), TAIL_BYTES):
                with suppress(OSError):
                    file.write(chunk)
                self._cut = self._cut or len(self._end) + len(chunk) > TAIL_BYTES
                self._end = (self._end + chunk)[-TAIL_BYTES:]

    def tail(self) -> list[str]:
        """The last lines, scrubbed. A progress bar's states count as lines."""
        text = self._end.decode(errors="replace").replace("\r", "\n")
        whole = text.partition("\n")[2] if self._cut else text  # half a token cannot be recognized
        lines = scrub(CONTROL.sub("", whole)).splitlines()
        return [line[:MESSAGE_LENGTH] for line in lines if line.strip()][-TAIL_LINES:]


def _open_log(path: Path | None) -> io.FileIO:
    """The log to write to, unbuffered; the null device where it cannot be had."""
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return io.FileIO(path, "w")
    return io.FileIO(os.devnull, "w")


def _kill(pid: int) -> None:
    """SIGKILL a living worker and its descendants, those in other groups, too."""
    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        family = psutil.Process(pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for process in family:
        with suppress(psutil.Error):
            process.kill()


def _death(code: int | None, memory_ran_out: bool) -> tuple[Reason, str]:
    """Reason and message for a worker that ended without an answer."""
    if code is None or code >= 0:
        return "exit", f"It ended with exit code {code} before it had a result."
    name = next((member.name for member in signal.Signals if member == -code), f"signal {-code}")
    if name == "SIGKILL" and memory_ran_out:
        return "out_of_memory", "The kernel killed it with SIGKILL, as memory ran out."
    return "killed", f"It was killed by {name}."


def _oom_kills() -> int:
    """How often the kernel has killed for want of memory, by the counters that can be read."""
    counters = [Path("/proc/vmstat")]
    with suppress(OSError):
        group = re.search("^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
        counters += [Path("/sys/fs/cgroup", group[1], "memory.events")] if group else []
    total = 0
    for counter in counters:
        with suppress(OSError):
            total += sum(
                map(int, re.findall(r"^oom_kill (\d+)$", counter.read_text(), re.MULTILINE))
            )
    return total
