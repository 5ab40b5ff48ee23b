"""What an engine may know of the run when it starts a program of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Tell = Callable[[str, int, int], None]
"""Told what is waited for, and how far that is: done, and the total."""


def _nothing(what: str, done: int, total: int) -> None:
    """Tells no one."""


@dataclass(frozen=True)
class Start:
    """How much will be asked of it, and where it tells."""

    at_once: int = 1
    """Requests that are answered at the same time, at most."""
    tokens: int | None = None
    """Of the longest request, prompt and answer; null: not known."""
    log: Path | None = None
    """Where the program's output goes; null: nowhere."""
    tell: Tell = _nothing
    """Called while it is waited for."""
    sleeps: bool = False
    """Whether it will be told to sleep while the other model is measured."""
    queues: bool = False
    """Whether more requests come than `at_once`: these must wait in the program's queue."""
    traced: bool = False
    """Whether it may be asked what its time goes to, once all else is measured: until then it must cost
    nothing."""

    def seats(self, least: int) -> int:
        """How many the program may answer at once: what scores is faster with `least`, and under a load
        there are no more than were asked for."""
        return self.at_once if self.queues else max(self.at_once, least)
