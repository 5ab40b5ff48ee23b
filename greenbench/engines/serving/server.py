"""An engine's program as a server on loopback: started, watched, and ended whatever happens."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from greenbench.engines.engine import Tell
from greenbench.engines.serving import journal, keeper
from greenbench.errors import EngineFault

HOST = "127.0.0.1"
ATTEMPTS = 3
"""Ports that are tried: another program may take one between its choice and its use."""
GRACE_S = 3.0
"""A server has so long to end by itself."""
PAUSE_S = 0.1
"""Between two looks at a server that starts."""
TAIL_BYTES = 8192
PORT_TAKEN = re.compile(r"address already in use|EADDRINUSE|couldn.t bind|failed to bind", re.I)
NO_MEMORY = re.compile(r"out of memory|not enough memory|failed to allocate|bad_alloc", re.I)
TELLING = re.compile(r"error|exception|fail|cannot|can't|abort|out of memory", re.I)
FIRST_OF_LOG = re.compile(
    r"^[\d.:,\s\[\]-]*(?:[A-Z]\s+)?"
)  # time and level, as llama.cpp writes them


class Program(NamedTuple):
    """What is to be started, and how it is known to be ready."""

    engine: str
    """For people."""
    command: Callable[[int], Sequence[str]]
    """Its command line, by the port that it is to listen to."""
    environment: Mapping[str, str] = {}
    """Beside that of this process."""
    health: str = "/health"
    """Answers 200 once it can work."""
    limit_s: float = 300.0
    """It must be ready by then."""


class Server:
    """A program that was started, and the processes it is."""

    def __init__(self, program: Program, port: int, log: Path | None) -> None:
        self._program, self._log = program, log
        self._began_s = time.monotonic()
        self._from_byte = log.stat().st_size if log is not None and log.exists() else 0
        command = [sys.executable, "-I", "-S", keeper.__file__, str(log or os.devnull)]
        self._keeper = subprocess.Popen(
            [*command, str(GRACE_S), *program.command(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | dict(program.environment),
            start_new_session=True,
        )
        self.port, self.url = port, f"http://{HOST}:{port}"
        assert self._keeper.stdout is not None
        first = self._keeper.stdout.readline()
        self._note = journal.Note()
        self._pid = int(first) if first.strip().isdigit() else None
        self.note()

    def note(self) -> None:
        """Keep its processes in the journal, as they are by now."""
        self._note.write(sorted({self._keeper.pid, *self.pids()}))

    def pids(self) -> frozenset[int]:
        """The program's processes."""
        found: set[int] = set()
        if self._pid is not None:
            with suppress(psutil.Error):
                process = psutil.Process(self._pid)
                found = {self._pid, *(child.pid for child in process.children(recursive=True))}
        return frozenset(found)

    def require_alive(self) -> None:
        """Raise EngineFault, or MemoryError, in one sentence, where it has ended."""
        if (code := self._keeper.poll()) is None:
            return
        raise self._fault("ended", self._end(code))

    def wait_until_ready(self, tell: Tell) -> None:
        """Raise EngineFault, or MemoryError, where it is not by its limit."""
        limit_s = self._program.limit_s
        while (spent_s := time.monotonic() - self._began_s) < limit_s:
            tell(f"start {self._program.engine}", int(spent_s), int(limit_s))
            if (code := self._keeper.poll()) is not None:
                raise self._fault("did not start", self._end(code))
            if self._listens() and self._is_healthy():
                self.note()  # with the workers that it has by now
                return
            time.sleep(PAUSE_S)
        raise self._fault("did not start", f"it was not ready after {limit_s:g} s")

    def close(self) -> None:
        """End all of it, and wait until it is gone."""
        assert self._keeper.stdin is not None
        pids = self.pids()
        self._keeper.stdin.close()
        try:
            self._keeper.wait(GRACE_S + 10)
        except subprocess.TimeoutExpired:
            for pid in (self._keeper.pid, *pids):
                with suppress(psutil.Error):
                    psutil.Process(pid).kill()
            self._keeper.wait()
        for stream in (self._keeper.stdout, self._keeper.stderr):
            if stream is not None:
                stream.close()
        self._note.remove()

    @property
    def port_was_taken(self) -> bool:
        """Whether it has ended because another program had its port."""
        return self._keeper.poll() is not None and bool(PORT_TAKEN.search(self.tail()))

    def tail(self) -> str:
        """The end of what it has written."""
        if self._log is None:
            return ""
        with suppress(OSError), self._log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._from_byte, size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
        return ""

    def _listens(self) -> bool:
        """Whether the port is this program's: another's answer must not count."""
        for pid in self.pids():
            with suppress(psutil.Error):
                for each in psutil.Process(pid).net_connections(kind="tcp"):
                    if each.status == psutil.CONN_LISTEN and each.laddr.port == self.port:
                        return True
        return False

    def _is_healthy(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.url + self._program.health, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def _end(self, code: int) -> str:
        """How it ended, and the last line of its log that tells something."""
        how = f"signal {code - 128}" if code > 128 else f"exit code {code}"
        lines = [FIRST_OF_LOG.sub("", line).strip() for line in self.tail().splitlines()]
        if self._pid is None and self._keeper.stderr is not None:  # it could not even be started
            lines += self._keeper.stderr.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if TELLING.search(line)] or [
            line for line in lines if line
        ]
        return f"{how}: {telling[-1][:200]}" if telling else how

    def _fault(self, what: str, why: str) -> Exception:
        where = (
            f"see {self._log.name} beside the run's log"
            if self._log
            else "run it by hand to see why"
        )
        killed = why.startswith("signal 9")
        sentence = (
            f"The server of engine={self._program.engine} {what} ({why.rstrip('. ')}): {where}."
        )
        no_memory = killed or NO_MEMORY.search(self.tail())
        return MemoryError(sentence) if no_memory else EngineFault(sentence)


@contextmanager
def started(program: Program, log: Path | None, tell: Tell) -> Iterator[Server]:
    """`program` as a server that is ready; all of it is gone when the block is left.

    Raises EngineFault, or MemoryError, in one sentence, where it does not get ready.
    """
    journal.end_leftovers()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    for attempt in range(1, ATTEMPTS + 1):
        server = Server(program, free_port(), log)
        try:
            try:
                server.wait_until_ready(tell)
            except EngineFault:
                if attempt < ATTEMPTS and server.port_was_taken:
                    continue
                raise
            yield server
            return
        finally:
            server.close()


def free_port() -> int:
    """One of loopback that nothing listens to now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
