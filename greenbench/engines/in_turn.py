"""For what answers one request at a time: those that come meanwhile wait, and are answered in their order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from greenbench.engines.engine import Completion, Line, Queue, Request, T

Complete = Callable[[Sequence[Request]], list[Completion]]


def converse(
    complete: Complete,
    talk: Callable[[Line], Awaitable[T]],
    prepare: Callable[[], None] = lambda: None,
) -> T:
    """What `talk` returns: `Served.converse` of a model that has but `complete`.

    One thread, beside that of `talk`, answers all; `prepare` is called in it first. An answer that is given
    up while it waits is never begun. One that is being made cannot be stopped: this returns only after it.
    """

    async def talking(hand: Executor) -> T:
        return await talk(_Turns(complete, hand))

    with ThreadPoolExecutor(1, "answers", prepare) as hand:
        return asyncio.run(talking(hand))


class _Turns:
    """Requests in turn, as one hand takes what it is given: first in, first out."""

    def __init__(self, complete: Complete, hand: Executor) -> None:
        self._complete, self._hand = complete, hand
        self._here = 0

    async def ask(self, request: Request, came: list[float] | None = None) -> Completion:
        """Its answer; it is sent when it is handed over, and not when its turn comes. Of one that is
        given up nothing is known."""
        sent_s = time.perf_counter()
        self._here += 1
        try:
            loop = asyncio.get_running_loop()
            (done,) = await loop.run_in_executor(self._hand, self._complete, [request])
        finally:
            self._here -= 1
        return done._replace(sent_s=sent_s)

    async def queue(self) -> Queue | None:
        """All but one wait."""
        running = min(self._here, 1)
        return Queue(running, self._here - running)
