"""What a meter or a setting needs of time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """What a meter needs of time; the ``time`` module is one."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
