"""Servers that a run has started, noted on disk: what a killed one has left over is found and ended.

The keeper of a server ends it when its run is gone. This is for what a keeper was killed with.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from greenbench.files import write_atomically
from greenbench.paths import cache_dir

SAME_S = 0.02
"""The kernel tells a start to a hundredth of a second."""


class Identity(NamedTuple):
    """One process, and no other that has its number later."""

    pid: int
    started_s: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Raises psutil.Error where there is none."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """It, if it lives."""
        with suppress(psutil.Error):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.started_s) < SAME_S and found.is_running():
                return found
        return None


class Note:
    """One server's entry."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def write(self, pids: Iterable[int]) -> None:
        """These processes are this run's server by now."""
        known = []
        for pid in pids:
            with suppress(psutil.Error):
                known.append(Identity.of(pid))
        if self._path is None and known:
            self._path = _folder() / f"{socket.gethostname()}-{known[0].pid}.json"
        if self._path is not None:
            entry = {"owner": Identity.of(os.getpid()), "server": known}
            with suppress(OSError):  # the keeper ends it all the same
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._path, json.dumps(entry).encode(), durable=False)

    def remove(self) -> None:
        """The server has ended."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def end_leftovers() -> list[int]:
    """Kill the servers on this host whose runs are gone; the processes that were."""
    killed = []
    for path in sorted(_folder().glob(f"{socket.gethostname()}-*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            entry = json.loads(path.read_bytes())
            if Identity(*entry["owner"]).process() is not None:
                continue
            for each in entry["server"]:
                killed += _kill(Identity(*each))
        path.unlink(missing_ok=True)
    return killed


def _kill(identity: Identity) -> list[int]:
    process = identity.process()
    if process is None:
        return []
    family = [process]
    with suppress(psutil.Error):
        family += process.children(recursive=True)
    for each in family:
        with suppress(psutil.Error):
            each.kill()
    return [each.pid for each in family]


def _folder() -> Path:
    return cache_dir() / "servers"
