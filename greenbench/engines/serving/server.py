"""An engine's program as a server on loopback: started, watched, and ended whatever happens."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from greenbench.engines.serving import journal
from greenbench.engines.serving.kept import Kept
from greenbench.engines.start import Tell
from greenbench.errors import EngineFault

HOST = "127.0.0.1"
ATTEMPTS = 3
"""Ports that are tried: another program may take one between its choice and its use."""
PAUSE_S = 0.1
"""Between two looks at a server that starts."""
PORT_TAKEN = re.compile(r"address already in use|EADDRINUSE|couldn.t bind|failed to bind", re.I)


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


class Server(Kept):
    """A program that was started on a port."""

    def __init__(self, program: Program, port: int, log: Path | None) -> None:
        self._program = program
        self._began_s = time.monotonic()
        self.port, self.url = port, f"http://{HOST}:{port}"
        super().__init__(program.command(port), program.environment, log)

    def require_alive(self) -> None:
        """Raise EngineFault, or MemoryError, in one sentence, where it has ended."""
        if self.ended() is not None:
            raise self._fault("ended", self.end())

    def wait_until_ready(self, tell: Tell) -> None:
        """Raise EngineFault, or MemoryError, where it is not by its limit."""
        limit_s = self._program.limit_s
        while (spent_s := time.monotonic() - self._began_s) < limit_s:
            tell(f"start {self._program.engine}", int(spent_s), int(limit_s))
            if self.ended() is not None:
                raise self._fault("did not start", self.end())
            if self._listens() and self._is_healthy():
                self.note()  # with the workers that it has by now
                return
            time.sleep(PAUSE_S)
        raise self._fault("did not start", f"it was not ready after {limit_s:g} s")

    @property
    def port_was_taken(self) -> bool:
        """Whether it has ended because another program had its port."""
        return self.ended() is not None and bool(PORT_TAKEN.search(self.tail()))

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

    def _fault(self, what: str, why: str) -> Exception:
        where = (
            f"see {self._log.name} beside the run's log"
            if self._log
            else "run it by hand to see why"
        )
        sentence = (
            f"The server of engine={self._program.engine} {what} ({why.rstrip('. ')}): {where}."
        )
        return MemoryError(sentence) if self.had_no_memory() else EngineFault(sentence)


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
