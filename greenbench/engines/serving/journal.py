"""Servers that a run has started, noted on disk: what a killed one has left over is found and ended.

The keeper of a server ends it when its run is gone. This is for what a keeper was killed with.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from greenbench.files import write_atomically
from greenbench.paths import cache_dir

SAME_S = 0.02
"""The kernel tells a start to a hundredth of a second."""
DYING_S = 5.0
"""What was killed is gone by then, unless it waits for a device."""


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

    def __init__(self, leader: int | None) -> None:
        """`leader` is the program, which leads a session: what it has started stays there when it dies."""
        self._path: Path | None = None
        self._session = None if leader is None else _identity(leader)

    def write(self, pids: Iterable[int]) -> None:
        """These processes are this run's server by now."""
        known = [found for pid in pids if (found := _identity(pid)) is not None]
        if self._path is None and known:
            self._path = _folder() / f"{socket.gethostname()}-{known[0].pid}.json"
        if self._path is not None:
            entry = {
                "world": _world(),
                "owner": Identity.of(os.getpid()),
                "server": known,
                "session": self._session,
            }
            with suppress(OSError):  # the keeper ends it all the same
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._path, json.dumps(entry).encode(), durable=False)

    def remove(self) -> None:
        """The server has ended."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def end_leftovers() -> list[int]:
    """Kill the servers on this host whose runs are gone; the processes that were.

    A note of what does not die in time is kept for the next start.
    """
    killed: set[int] = set()
    for path in sorted(_folder().glob(f"{socket.gethostname()}-*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            entry = json.loads(path.read_bytes())
            if entry["world"] == _world():
                if Identity(*entry["owner"]).process() is not None:
                    continue
                found, left = _end(entry)
                killed |= found
                if left:
                    continue
        path.unlink(missing_ok=True)
    return sorted(killed)


def _end(entry: dict[str, Any]) -> tuple[set[int], bool]:
    """Kill until nothing is left, as a process may start another meanwhile; and whether something is."""
    killed: set[int] = set()
    end_s = time.monotonic() + DYING_S
    while living := _living(entry):
        if time.monotonic() > end_s:
            return killed, True
        for each in living:
            with suppress(psutil.Error):
                each.kill()
                killed.add(each.pid)
        time.sleep(0.01)
    return killed, False


def _living(entry: dict[str, Any]) -> list[psutil.Process]:
    """What lives of a server: who is noted, what they have started, and who is in its session."""
    found: set[psutil.Process] = set()
    for each in entry["server"]:
        if (process := Identity(*each).process()) is not None:
            found.add(process)
            with suppress(psutil.Error):
                found.update(process.children(recursive=True))
    if entry["session"] is not None:
        found.update(_session(Identity(*entry["session"])))
    return [each for each in found if _can_die(each)]


def _session(leader: Identity) -> Iterator[psutil.Process]:
    """Who is in the session that `leader` began; no one where its number leads another's by now.

    A number is not given anew while a session has it.
    """
    if psutil.pid_exists(leader.pid) and leader.process() is None:
        return
    for each in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_later = each.create_time() > leader.started_s - SAME_S
            if os.getsid(each.pid) == leader.pid and is_later:
                yield each


def _can_die(process: psutil.Process) -> bool:
    """Whether it is ours and lives; what has ended may wait for its parent."""
    with suppress(psutil.Error):
        mine = process.uids().real == os.getuid()
        return mine and process.status() != psutil.STATUS_ZOMBIE
    return False


def _identity(pid: int) -> Identity | None:
    with suppress(psutil.Error):
        return Identity.of(pid)
    return None


def _world() -> str:
    """This boot and this container: in another one the same number is another process."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return str(int(psutil.boot_time()))


def _folder() -> Path:
    return cache_dir() / "servers"
