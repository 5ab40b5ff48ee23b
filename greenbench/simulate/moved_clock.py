"""Time that someone moves."""

from __future__ import annotations

import math
from collections.abc import Callable


class MovedClock:
    """Time that passes only when someone sleeps, in steps; each listener hears of every step."""

    def __init__(self, *listeners: Callable[[float], object]) -> None:
        self.now_s = 0.0
        self.step_s = math.inf
        self.listeners = list(listeners)

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self.now_s

    def sleep(self, seconds: float, /) -> None:
        """Move it."""
        end_s = self.now_s + seconds
        while True:
            self.now_s = min(end_s, self.now_s + self.step_s)
            for listener in self.listeners:
                listener(self.now_s)
            if self.now_s >= end_s:
                return
