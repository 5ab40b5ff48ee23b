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
from typing import Annotated, Any, NamedTuple

import psutil
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from greenbench.agents import ownership
from greenbench.agents.ownership import FOLDER
from greenbench.agents.places import Places
from greenbench.campaign.bench import Asked
from greenbench.campaign.console import heard
from greenbench.errors import UserError
from greenbench.files import locked_if_free, require_cache, unwritable, write_atomically
from greenbench.records.store import Store, parse
from greenbench.schema.ranges import require_choice
from greenbench.schema.record import Record
from greenbench.wording import visible

LEAVE_S = 60.0
"""A bench that is told to end gets this long to put back what it has changed."""
SHOWN, MOST = 5, 25
"""Runs, and last lines of a log; records of a run."""
PLAIN = {"TTY_COMPATIBLE": "0"}
"""What keeps a progress bar out of the log, whatever the server's environment asks for."""


def _moment(text: str) -> str:
    """In UTC. Raises ValueError for what is no moment, or none of ours."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not 1970 <= moment.year < 9999:
        raise ValueError(f"{text} is no moment of ours")
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class Document(BaseModel):
    """What a server leaves for the next one about a bench that it has started.

    Anybody may have written it: it is no reason to take a process for ours, nor its id for a file's name
    unless it looks like one of ours.
    """

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    pid: PositiveInt
    command: list[str]
    overrides: list[str]
    started_at: Annotated[str, AfterValidator(_moment)]
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

    @property
    def place(self) -> tuple[Path, str]:
        """What tells it from the copy of its document in another directory."""
        return self.folder.resolve(), self.told.id

    def keep(self, **changes: object) -> Started:
        """The same with `changes`, written down."""
        told = self.told.model_copy(update=changes)
        write_atomically(self.folder / FOLDER / f"{told.id}.json", told.model_dump_json().encode())
        return self._replace(told=told)


class Background:
    """What was started in the `places`, by this server or one before it."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._children: dict[tuple[Path, str], subprocess.Popen[bytes]] = {}

    def start(self, results: str, folder: Path, asked: Asked) -> dict[str, Any]:
        """Start a bench of what is `asked`; its status. Raises UserError while another goes on."""
        if (folder / FOLDER).is_symlink():
            raise UserError(
                f"{results}/{FOLDER} is a link, through which logs would be written elsewhere: remove it."
            )
        require_cache()
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
        return (each for each in self._all() if self._process(each))

    def status(self, run: str | None) -> list[dict[str, Any]]:
        """One, or all that go on and the last that ended, the newest first. Raises UserError."""
        if run is not None:
            return [self._status(self._named(run))]
        found = sorted(self._all(), key=lambda each: each.told.started_at, reverse=True)
        return [self._status(each) for each in found[:SHOWN]]

    def stop(self, run: str) -> dict[str, Any]:
        """Tell a bench to end, and wait until it has; its status. Raises UserError where it has ended."""
        started = self._named(run)
        process = self._process(started)
        if process is None:
            raise UserError(
                f"Run {run} is not one that you have started on this machine: stop it where it was started."
                if self._is_unknown(started)
                else f"Run {run} has ended already: its status says how."
            )
        started = started.keep(stopped=True)
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired, subprocess.TimeoutExpired):
            process.terminate()
            process.wait(LEAVE_S)
        return self._status(started)

    def _begin(self, results: str, folder: Path, asked: Asked) -> Started:
        command = [sys.executable, "-m", "greenbench", "bench", *asked.overrides]
        command += ["--multirun"] if asked.multirun else []
        command += [f"--config-dir={asked.config_dir}"] if asked.config_dir else []
        run, now = secrets.token_hex(4), datetime.now(UTC).isoformat(timespec="seconds")
        (folder / FOLDER).mkdir(exist_ok=True)
        with (folder / FOLDER / f"{run}.log").open("xb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | PLAIN,
                start_new_session=True,  # a client ends its server's session, which this is not of
            )
        try:
            ownership.mark(run, folder, child.pid, command)
        except OSError as error:
            child.terminate()  # else it would go on, and nobody could stop it
            raise unwritable(
                f"The cache directory cannot hold the mark of run {run}", error,
                "say where it may be with the environment variable GREENBENCH_CACHE",
            ) from error  # fmt: skip
        self._children[folder.resolve(), run] = child
        said = [text for text in asked.overrides if not text.startswith("results=")]  # the agent
        told = Document(id=run, pid=child.pid, command=command, overrides=said, started_at=now)
        return Started(results, folder, told).keep()

    def _all(self) -> Iterator[Started]:
        """A document that no server has written is passed over, and what a link leads to."""
        for name, folder in self._places:
            if (folder / FOLDER).is_symlink():
                continue
            for file in sorted((folder / FOLDER).glob("*.json")):
                with suppress(OSError, ValidationError):
                    told = Document.model_validate_json(ownership.plain(file))
                    if told.id == file.stem:
                        yield Started(name, folder, told)

    def _named(self, run: str) -> Started:
        """Of several with that name, copies of one, the one that goes on."""
        known: dict[str, Started] = {}
        for each in self._all():
            if each.told.id not in known or self._process(each):
                known[each.told.id] = each
        require_choice(run, "run", known)
        return known[run]

    def _process(self, started: Started) -> subprocess.Popen[bytes] | psutil.Process | None:
        """Its process, if it is there and this user's; null: it has ended, or is not known."""
        if child := self._children.get(started.place):
            return child if child.poll() is None else None
        return ownership.process(started.told.id, started.folder, started.told.pid)

    def _is_unknown(self, started: Started) -> bool:
        """Whether nothing but its document tells of it, which does not tell of an end."""
        told, ours = started.told, started.place in self._children
        return told.exit_status is None and not (ours or ownership.marked(told.id, started.folder))

    def _status(self, started: Started) -> dict[str, Any]:
        goes_on = self._process(started) is not None
        child = self._children.get(started.place)
        if child and child.returncode != started.told.exit_status:
            started = started.keep(exit_status=child.returncode)
        told, lines = started.told, _lines(started.log)
        far = heard(lines)
        return {
            "run": told.id,
            "results": started.results,
            "state": "unknown" if self._is_unknown(started) else _state(told, goes_on),
            "exit_status": told.exit_status,
            "overrides": [visible(text) for text in told.overrides],
            "started_at": told.started_at,
            "pid": told.pid if goes_on else None,
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
        text = ownership.plain(log).decode(errors="replace")
        return [visible(line) for line in text.splitlines() if line]
    except OSError:
        return []


def _records(started: Started) -> list[dict[str, Any]]:
    """What it has left by now; read are only files that are not older than it."""
    begun = datetime.fromisoformat(started.told.started_at)
    files = Store(started.folder).records.glob("*.json")
    fresh = [file for file in files if _changed_s(file) >= begun.timestamp()]
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


def _changed_s(file: Path) -> float:
    """When; of what is gone, or a link to nowhere, never."""
    with suppress(OSError):
        return file.stat().st_mtime
    return float("-inf")
