"""What becomes of the requests of a load, and what the server says meanwhile."""

from __future__ import annotations

import math
from typing import NamedTuple

from greenbench.engines.engine import Queue


class Outcome(NamedTuple):
    """What became of one request. Times are seconds of the flow's clock, ``time.perf_counter``."""

    due_s: float
    sent_s: float
    done_s: float | None
    """When its answer ended, or it failed; null: it was given up on."""
    stamps_s: tuple[float, ...]
    """When each token came, as far as known."""
    prompt_tokens: int
    fault: str | None = None
    """Why there is no whole answer, in one sentence."""
    wanted_tokens: int | None = None
    """Of one that was given up on: how many its answer would have had at most."""
    cut: bool = False
    """Whether it was not asked at the lengths that were drawn for it."""

    @property
    def answered(self) -> bool:
        """Whether all of its answer came."""
        return self.done_s is not None and self.fault is None

    @property
    def until_s(self) -> float:
        """When it was in flight no longer, or never."""
        return math.inf if self.done_s is None else self.done_s


class Poll(NamedTuple):
    """What the server told of itself at one moment; null: nothing."""

    at_s: float
    queue: Queue | None
