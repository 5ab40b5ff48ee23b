"""What a person sees while runs go: a live table in a terminal, plain lines in a log."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from greenbench.wording import ESTIMATE, duration, number, visible

SHOWN = 12
"""Runs that the live table has; those before are counted, and all are there at the end."""

RUN = re.compile(r"\[(\d+)/(\d+)\] (  )?(.*)")
"""How a log's line about a run begins, and whether it is about a stage of it."""


class Heard(NamedTuple):
    """How far a sweep has come, by its log."""

    total: int | None = None
    """Null before the first run."""
    ended: int = 0
    """Runs that are over."""
    run: str | None = None
    """The one that goes on."""
    stage: str | None = None


def heard(lines: Iterable[str]) -> Heard:
    """What a `Console` has told in these `lines` of a log."""
    known, begun = Heard(), 0
    for match in filter(None, map(RUN.fullmatch, lines)):
        number, total, inner, text = int(match[1]), int(match[2]), match[3], match[4]
        if inner:
            known = known._replace(total=total, stage=text)
        elif number > begun:
            known, begun = Heard(total, number - 1, text), number
        else:
            known = Heard(total, number)
    return known


class Console:
    """Progress of a sweep of `total` runs: which are done, which goes on, what it shows, what is left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._durations_s: list[float] = []
        self._foreseen_s: float | None = None
        self._at_once = 1
        self._number = 0
        self._once: set[str] = set()
        self._label = ""
        self._stage = ""
        self._started_s = 0.0
        self._ended: list[tuple[int, str, str]] = []
        self._joules, self._estimated = 0.0, False
        self._over = False
        self._terminal = Terminal(stderr=True, highlight=False)
        self._live = self._terminal.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("stage ends in"),
            TimeRemainingColumn(),
            console=self._terminal,
        )
        self._known = ""
        self._task = self._bar.add_task("starting", total=None)
        self._screen = Live(
            get_renderable=self._drawn, console=self._terminal, refresh_per_second=4
        )

    def __enter__(self) -> Self:
        if self._live:
            self._screen.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        if self._live:
            self._screen.stop()

    def _drawn(self) -> Group:
        """The table of runs that are done, the one that goes on, and what all took by now."""
        shown = self._ended if self._over else self._ended[-SHOWN:]
        table = Table(box=None, pad_edge=False, show_header=False)
        for place, label, outcome in shown:
            table.add_row(f"{place}/{self._total}", escape(label), escape(outcome))
        parts: list[Table | Progress | str] = [table] if shown else []
        if not self._over:
            parts += [self._bar, self._so_far()]
        return Group(*parts)

    def _so_far(self) -> str:
        mark = ESTIMATE if self._estimated else ""
        joules = f"{mark}{number(self._joules)} J in measured windows" if self._joules else ""
        done = f"{len(self._ended)} of {self._total} runs done" if self._total > 1 else ""
        parts = (self._known, done, joules, self._time_left())
        return escape("; ".join(part for part in parts if part))

    def expect(self, total: int, each_s: float | None = None, at_once: int = 1) -> None:
        """There will be `total` runs: a job may be several. `each_s`: what one is foreseen to take."""
        self._total, self._foreseen_s, self._at_once = total, each_s, at_once

    def begin(self, number: int, label: str) -> None:
        """Run `number` (from 1) starts."""
        self._number, self._label, self._stage, self._known = number, label, "", ""
        self._started_s = time.monotonic()
        if not self._live:
            self._say(f"[{number}/{self._total}] {label}")

    def stage(self, name: str, done: int, total: int, known: str = "") -> None:
        """The run is in stage `name`, `done` of `total` through it, and this is `known` by now."""
        if name != self._stage:
            self._stage = name
            self._bar.reset(self._task)
            if not self._live:
                self._say(f"[{self._number}/{self._total}]   {name}")
        self._known = known
        self._bar.update(
            self._task,
            description=f"{self._number}/{self._total} {escape(self._label)}: {name}",
            completed=done,
            total=max(total, 1),
        )

    def end(
        self,
        text: str,
        *,
        ran: bool = True,
        joules: float = 0.0,
        estimated: bool = False,
        took_s: float | None = None,
    ) -> None:
        """The run is over; `ran` is false where nothing had to be done. `joules` are its windows', and
        `took_s` is what it took where it began before it was told of."""
        if ran:
            self._durations_s.append(
                time.monotonic() - self._started_s if took_s is None else took_s
            )
        self._joules += joules
        self._estimated = self._estimated or (estimated and joules > 0)
        self._ended.append((self._number, self._label, text))
        self._known = ""
        left = self._time_left() if self._number < self._total else ""
        if not self._live:
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
        """From the mean duration of the runs that have ended; of the first, from what was foreseen."""
        if not self._durations_s and self._foreseen_s is None:
            return ""
        known = self._durations_s or [self._foreseen_s or 0.0]
        mean = sum(known) / len(known)
        running = self._stage != "" and self._number > len(self._durations_s)
        spent = time.monotonic() - self._started_s if running else 0.0
        left = (
            max(0.0, mean - spent) * running + mean * (self._total - self._number) / self._at_once
        )
        return f"about {duration(left)} left"
