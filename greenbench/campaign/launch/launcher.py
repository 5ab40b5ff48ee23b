"""The seam to what runs a sweep's runs elsewhere: tasks, each a call of ``greenbench``, and how each ended.

Hydra's own launchers run a function of the configuration in a folder that Hydra makes, once for each of its
jobs: resume, records and the answer to a run that its machine took along would have to be built around them.
Here a task is the command that a person would type there, so that all of it is the same everywhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

KEPT = ("GREENBENCH_", "HF_")
"""Beginnings of the names of variables that hold wherever a task runs."""
Fate = Literal["ended", "lost", "cancelled", "unseen"]
"""By itself, however; with its machine or by a kill; at a person's will; where nobody here sees its files."""
UNSEEN: Final = 1000
"""What a call answers where it has no folder to write to: no program's exit status is so large."""


class Task(NamedTuple):
    """A call to be run somewhere."""

    number: int
    words: tuple[str, ...]
    """The program and its arguments."""
    log: Path
    """Where all that it prints goes."""


class Ended(NamedTuple):
    """What became of a task."""

    task: Task
    fate: Fate
    why: str = ""
    """In a few words where it did not end by itself."""


class Launcher(Protocol):
    """Runs tasks, several at once."""

    name: str

    def running(self, tasks: Sequence[Task]) -> AbstractContextManager[Iterator[Ended]]:
        """Start all, and yield each as it ends; what leaves the block early stops what still runs.

        Raises UserError, one sentence, where tasks cannot be started.
        """


class Call:
    """A task where it runs, in this folder and by these settings of ours; picklable. Its answer is the exit
    status."""

    def __init__(self, words: Sequence[str], log: str) -> None:
        self._words, self._log, self._folder = tuple(words), log, os.getcwd()
        self._variables = {
            name: value for name, value in os.environ.items() if name.startswith(KEPT)
        }

    def __call__(self) -> int:
        """Run it to its end; `UNSEEN` at once where its machine has not the folder that it writes to."""
        if not Path(self._log).parent.is_dir():
            return UNSEEN
        with open(self._log, "ab") as log:
            return subprocess.run(
                self._words,
                cwd=self._folder,
                env=os.environ | self._variables,
                stdout=log,
                stderr=log,
                check=False,
            ).returncode

    def checkpoint(self) -> Any:
        """The same call again, for submitit to put back in the queue: what has a record is not run again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def ended(task: Task, status: int) -> Ended:
    """What an exit status tells: a signal's is negative, or above 128 where a shell tells it."""
    if status == UNSEEN:
        return unseen(task)
    if status < 0 or status > 128:
        return Ended(task, "lost", "it was killed")
    return Ended(task, "ended")


def unseen(task: Task) -> Ended:
    """A task of which nothing came here, though it ran."""
    return Ended(task, "unseen", f"its machine does not see {task.log.parent}")
