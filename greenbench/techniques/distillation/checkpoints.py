"""What a training leaves on disk, so that a process that is killed costs only its last minute."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from greenbench.files import replaced

SHARE = 0.05  # of the time at most goes into writing checkpoints


class Checkpoint:
    """The state of a training in one file: the old one or the new one, never half of it."""

    def __init__(self, folder: Path | None, interval_s: float) -> None:
        """Without a folder nothing is kept."""
        self._file = folder / "training.pt" if folder else None
        self._interval_s = interval_s
        self._last_s, self._took_s = time.monotonic(), 0.0

    def load(self) -> dict[str, Any] | None:
        """The state last kept, on the CPU."""
        if self._file is None or not self._file.exists():
            return None
        state: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        return state

    def keep(self, state: Callable[[], dict[str, Any]], *, now: bool = False) -> bool:
        """Keep the state, now or where it is time for it; whether it was."""
        start_s = time.monotonic()
        wait_s = 0.0 if now else max(self._interval_s, self._took_s / SHARE)
        if self._file is None or start_s - self._last_s < wait_s:
            return False
        _replace(self._file, lambda path: torch.save(state(), path))
        self._last_s = time.monotonic()
        self._took_s = self._last_s - start_s
        return True

    def drop(self) -> None:
        """Nothing is left to go on with."""
        if self._file is not None:
            _remove(self._file)


class Ledger:
    """Seconds and joules that a training took, those of its killed processes included.

    Written far more often than the checkpoint, as work that was lost was paid for all the same.
    """

    def __init__(self, folder: Path | None, energy_j: Callable[[], float | None]) -> None:
        self._file = folder / "spent.json" if folder else None
        self._energy_j = energy_j
        self._start_s, self._start_j = time.monotonic(), energy_j()
        self._noted_s = self._start_s
        self.before_s: float = 0.0
        self.before_j: float | None = 0.0
        if self._file is not None and self._file.exists():
            self.before_s, self.before_j = json.loads(self._file.read_text())

    def spent(self) -> tuple[float, float | None]:
        """Seconds and joules so far; the joules null where a process had no meter."""
        seconds = self.before_s + time.monotonic() - self._start_s
        now_j = self._energy_j()
        if now_j is None or self._start_j is None or self.before_j is None:
            return seconds, None
        return seconds, self.before_j + now_j - self._start_j

    def note(self, *, now: bool) -> None:
        """Write it down: now, or once a second."""
        if self._file is not None and (now or time.monotonic() - self._noted_s >= 1):
            text = json.dumps(self.spent())
            _replace(self._file, lambda path: path.write_text(text))
            self._noted_s = time.monotonic()

    def drop(self) -> None:
        """The training is over."""
        if self._file is not None:
            _remove(self._file)


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write `file` anew; whoever is killed on the way leaves the old one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(file) as fresh:
        write(fresh)


def _remove(file: Path) -> None:
    for path in (file, *file.parent.glob(f".{file.stem}.*.tmp")):
        path.unlink(missing_ok=True)
