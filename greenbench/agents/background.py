"""Runs in the background: each is a process of its own, which goes on when the server that started it ends,
and which any later server of the same results directory sees and can stop."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from greenbench.agents.places import Places
from greenbench.campaign.bench import Asked
from greenbench.campaign.console import heard
from greenbench.errors import UserError
from greenbench.files import locked_if_free, write_atomically
from greenbench.records.store import Store, parse
from greenbench.schema.ranges import require_choice
from greenbench.schema.record import Record
from greenbench.wording import visible

FOLDER = "started"
"""In a results directory: a document and a log of each."""
LEAVE_S = 60.0
"""A bench that is told to end gets this long to put back what it has changed."""
SHOWN, MOST = 5, 25
"""Runs, and last lines of a log; records of a run."""
PLAIN = {"TTY_COMPATIBLE": "0"}
"""What keeps a progress bar out of the log, whatever the server's environment asks for."""


class Document(BaseModel):
    """What a server leaves for the next one about a bench that it has started."""

    model_config = ConfigDict(frozen=True)

    id: str
    pid: int
    command: list[str]
    overrides: list[str]
    started_at: str
    stopped: bool = False
    exit_status: int | None = None
    """Null while it goes on, and where no server was there to see its end."""


class Started(NamedTuple):
    """A bench, where it writes, and what was left about it."""

    results: str
    folder: Path
    told: Document

    @property
    def log(self) -> Path:
        """All that it has said."""
        return self.folder / FOLDER / f"{self.told.id}.log"

    def keep(self, **changes: object) -> Started:
        """The same with `changes`, written down."""
        told = self.told.model_copy(update=changes)
        write_atomically(self.folder / FOLDER / f"{told.id}.json", told.model_dump_json().encode())
        return self._replace(told=told)


class Background:
    """What was started in the `places`, by this server or one before it."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, results: str, folder: Path, asked: Asked) -> dict[str, Any]:
        """Start a bench of what is `asked`; its status. Raises UserError while another goes on."""
        Store(folder).require_space()
        with locked_if_free(folder / ".locks" / f"{FOLDER}.lock") as mine:
            if not mine:
                raise UserError(
                    f"Another server is starting a run in {results}: look at its status."
                )
            self.require_rest("two at once would disturb each other")
            return self._status(self._begin(results, folder, asked))

    def require_rest(self, why: str) -> None:
        """Raise UserError while a bench goes on, with `why` it must not."""
        for going in self.going():
            raise UserError(
                f"Run {going.told.id} goes on in {going.results}, and {why}: wait until its status says "
                "that it has ended."
            )

    def going(self) -> Iterator[Started]:
        """Those that have not ended."""
        return (each for each in self._all() if self._is_going(each.told))

    def status(self, run: str | None) -> list[dict[str, Any]]:
        """One, or all that go on and the last that ended, the newest first. Raises UserError."""
        if run is not None:
            return [self._status(self._named(run))]
        found = sorted(self._all(), key=lambda each: each.told.started_at, reverse=True)
        return [self._status(each) for each in found[:SHOWN]]

    def stop(self, run: str) -> dict[str, Any]:
        """Tell a bench to end, and wait until it has; its status. Raises UserError where it has ended."""
        started = self._named(run)
        if not self._is_going(started.told):
            raise UserError(f"Run {run} has ended already: its status says how.")
        started = started.keep(stopped=True)
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired, subprocess.TimeoutExpired):
            process = psutil.Process(started.told.pid)
            process.terminate()
            (self._children.get(run) or process).wait(LEAVE_S)
        return self._status(started)

    def _begin(self, results: str, folder: Path, asked: Asked) -> Started:
        command = [sys.executable, "-m", "greenbench", "bench", *asked.overrides]
        command += ["--multirun"] if asked.multirun else []
        command += [f"--config-dir={asked.config_dir}"] if asked.config_dir else []
        run, now = secrets.token_hex(4), datetime.now(UTC).isoformat(timespec="seconds")
        (folder / FOLDER).mkdir(exist_ok=True)
        with (folder / FOLDER / f"{run}.log").open("wb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | PLAIN,
                start_new_session=True,  # a client ends its server's session, which this is not of
            )
        self._children[run] = child
        said = [text for text in asked.overrides if not text.startswith("results=")]  # the agent
        told = Document(id=run, pid=child.pid, command=command, overrides=said, started_at=now)
        return Started(results, folder, told).keep()

    def _all(self) -> Iterator[Started]:
        for name, folder in self._places:
            for file in sorted((folder / FOLDER).glob("*.json")):
                with suppress(OSError, ValidationError):
                    yield Started(name, folder, Document.model_validate_json(file.read_bytes()))

    def _named(self, run: str) -> Started:
        known = {each.told.id: each for each in self._all()}
        require_choice(run, "run", known)
        return known[run]

    def _is_going(self, told: Document) -> bool:
        """Whether its process is there, and no other has its number by now."""
        if child := self._children.get(told.id):
            return child.poll() is None
        with suppress(psutil.Error):
            return psutil.Process(told.pid).cmdline() == told.command
        return False

    def _status(self, started: Started) -> dict[str, Any]:
        goes_on = self._is_going(started.told)
        child = self._children.get(started.told.id)
        if child and child.returncode != started.told.exit_status:
            started = started.keep(exit_status=child.returncode)
        told, lines = started.told, _lines(started.log)
        far = heard(lines)
        return {
            "run": told.id,
            "results": started.results,
            "state": _state(told, goes_on),
            "exit_status": told.exit_status,
            "overrides": told.overrides,
            "started_at": told.started_at,
            "pid": told.pid,
            "runs": far.total,
            "runs_ended": far.ended,
            "now": far.run if goes_on else None,
            "stage": far.stage if goes_on else None,
            "records": _records(started),
            "log": f"{started.results}/{FOLDER}/{told.id}.log",
            "last_lines": lines[-SHOWN:],
        }


def _state(told: Document, goes_on: bool) -> str:
    if told.stopped:
        return "stopping" if goes_on else "stopped"
    return "running" if goes_on else "ended"


def _lines(log: Path) -> list[str]:
    try:
        return [visible(line) for line in log.read_text(errors="replace").splitlines() if line]
    except OSError:
        return []


def _records(started: Started) -> list[dict[str, Any]]:
    """What it has left by now; read are only files that are not older than it."""
    begun = datetime.fromisoformat(started.told.started_at)
    files = Store(started.folder).records.glob("*.json")
    fresh = [file for file in files if file.stat().st_mtime >= begun.timestamp()]
    found = (parse(file) for file in fresh if not file.name.startswith("."))
    mine = [each for each in found if isinstance(each, Record)]
    return [
        {
            "key": record.key,
            "name": record.name,
            "status": record.status,
            "validity": record.validity,
        }
        for record in sorted(mine, key=lambda record: record.started_at)
        if record.started_at >= started.told.started_at
    ][-MOST:]
