"""The report while a sweep goes on: rewritten after each run, and once more whatever ends the sweep."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from greenbench.campaign.console import Console

SHARE = 0.1
"""Of a run's time, at most so much for telling of it: of thousands of records a report takes long."""


class RunningReport:
    """Nothing is told twice: what the sweep itself has written at its end is not written again."""

    def __init__(self, console: Console, write: Callable[[Path], object]) -> None:
        """`write` rewrites the report of a results directory."""
        self._console, self._write = console, write
        self._stale: dict[Path, None] = {}
        self._cost_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._rewrite()

    def after(self, results: Path, took_s: float) -> None:
        """A run has left a record there, which took so long."""
        self._stale[results] = None
        if self._cost_s <= SHARE * took_s:
            started_s = time.monotonic()
            self._rewrite()
            self._cost_s = time.monotonic() - started_s

    def _rewrite(self) -> None:
        for results in list(self._stale):
            try:
                self._write(results)
            except Exception as error:  # measuring goes on, and the sweep's own report will say it
                self._console.once(f"the report of what is done by now is not written: {error}")
                continue
            del self._stale[results]
            self._console.once(f"what is done by now is in {results / 'leaderboard.md'}")
