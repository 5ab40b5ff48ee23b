"""What a person sees while runs go: a live line in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console as Terminal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from greenbench.wording import duration, visible


class Console:
    """Progress of a sweep of `total` runs: which run, which stage, how much time is left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._durations_s: list[float] = []
        self._number = 0
        self._once: set[str] = set()
        self._label = ""
        self._stage = ""
        self._started_s = 0.0
        self._terminal = Terminal(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("stage ends in"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._terminal,
            transient=True,
            disable=not self._terminal.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def expect(self, total: int) -> None:
        """There will be `total` runs: a job may be several."""
        self._total = total

    def begin(self, number: int, label: str) -> None:
        """Run `number` (from 1) starts."""
        self._number, self._label, self._stage = number, label, ""
        self._started_s = time.monotonic()
        self._say(f"[{number}/{self._total}] {label}")

    def stage(self, name: str, done: int, total: int) -> None:
        """The run is in stage `name`, `done` of `total` through it."""
        if name != self._stage:
            self._stage = name
            self._bar.reset(self._task)
            if not self._terminal.is_terminal:
                self._say(f"[{self._number}/{self._total}]   {name}")
        self._bar.update(
            self._task,
            description=f"[{self._number}/{self._total}] {escape(self._label)}: {name}",
            completed=done,
            total=max(total, 1),
            left=self._time_left(),
        )

    def end(self, text: str, *, ran: bool = True) -> None:
        """The run is over; `ran` is false where nothing had to be done."""
        if ran:
            self._durations_s.append(time.monotonic() - self._started_s)
        left = self._time_left() if self._number < self._total else ""
        self._say(f"[{self._number}/{self._total}] {text}{', ' + left if left else ''}")

    def note(self, text: str) -> None:
        """Say `text` between runs or during one."""
        self._say(text)

    def once(self, text: str) -> None:
        """Say `text` unless it has been said."""
        if text not in self._once:
            self._once.add(text)
            self._say(text)

    def _say(self, text: str) -> None:
        self._terminal.print(escape(visible(text)), soft_wrap=True)
        sys.stderr.flush()

    def _time_left(self) -> str:
        """From the mean duration of the runs that have ended; the first run has nothing to go by."""
        if not self._durations_s:
            return ""
        mean = sum(self._durations_s) / len(self._durations_s)
        running = self._stage != "" and self._number > len(self._durations_s)
        spent = time.monotonic() - self._started_s if running else 0.0
        left = max(0.0, mean - spent) * running + mean * (self._total - self._number)
        return f"about {duration(left)} left"
