"""Load: requests sent at their times, whatever becomes of those before, and what became of each.

A request's time never waits for an answer, so a slow server cannot make its own latencies look short
(coordinated omission).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Any, Self

from greenbench.engines.engine import Completion, Line, Request, Served
from greenbench.errors import Busy, EngineFault, UserError
from greenbench.measure.arrivals import Due
from greenbench.measure.outcomes import Outcome, Poll

STAGGER_S = 1.0  # users do not all ask first at the same moment
GAUGE_S = 0.25
DEAD = 5  # failures in a row, with no answer between, not even that it is busy: the server is gone
BACK_OFF_S = 1.0  # until a user who was turned away asks again; at once would be a storm
LET_GO_S = 60.0  # what computes in this process ends its answer before it can be given up


class Flow:
    """Requests on their way to a model, in a thread of their own, from entering it to `stop`.

    Whatever ends the load, an EngineFault of a server that answers no more or a bug, is raised by the next
    call of a method here.
    """

    def __init__(
        self,
        served: Served,
        feed: Callable[[_Sender], Coroutine[Any, Any, None]],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """See `at_times` and `by_users`."""
        self._sender = _Sender(feed, clock)
        self._ended: Future[None] = Future()
        self._thread = Thread(target=self._run, args=(served,), name="load", daemon=True)

    @property
    def start_s(self) -> float:
        """When the load began, on its clock."""
        return self._sender.start_s

    @property
    def asked(self) -> list[Request]:
        """All that was sent so far."""
        return self._sender.asked

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_for(self._sender.began)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop(0)
        except Exception:
            if kind is None:
                raise

    def wait(self, seconds: float) -> None:
        """Let it flow so long."""
        self._beside(lambda: asyncio.sleep(seconds))

    def stop(self, within_s: float) -> tuple[list[Outcome], list[Poll]]:
        """Send no more, wait up to `within_s` for what was sent, and give up on the rest.

        All requests that were due so far, in the order of their times, and what the server told meanwhile.
        """
        self._tell(self._sender.stop, within_s)
        self._thread.join(within_s + LET_GO_S if within_s < math.inf else None)
        if self._thread.is_alive():
            raise EngineFault(
                f"The engine still holds requests {LET_GO_S:g} s after they were given up on: see its log."
            )
        self._ended.result()
        return sorted(self._sender.outcomes, key=lambda each: each.due_s), self._sender.polls

    def _run(self, served: Served) -> None:
        try:
            served.converse(self._sender.talk)
        except BaseException as error:
            self._ended.set_exception(_first(error))
        else:
            self._ended.set_result(None)

    def _beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        done: Future[None] = Future()
        self._tell(self._sender.beside, work, done)
        self._wait_for(done)

    def _tell(self, call: Callable[..., None], *what: Any) -> None:
        with suppress(RuntimeError):  # its loop has just been closed
            if not self._ended.done():
                self._sender.loop.call_soon_threadsafe(call, *what)

    def _wait_for(self, done: Future[None]) -> None:
        wait([done, self._ended], return_when=FIRST_COMPLETED)
        if self._ended.done():
            self._ended.result()
        done.result(0)


def at_times(
    served: Served, arrivals: Iterator[Due], clock: Callable[[], float] = time.perf_counter
) -> Flow:
    """Each request when it is due, counted from the flow's start."""
    return Flow(served, lambda sender: sender.at_times(arrivals), clock)


def by_users(
    served: Served,
    requests: Iterator[Request],
    users: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Flow:
    """So many users, each of whom asks again once answered; a request is due when it is asked."""
    return Flow(served, lambda sender: sender.by_users(requests, users), clock)


class _Sender:
    """The side of a flow that lives in its thread's loop."""

    loop: asyncio.AbstractEventLoop
    start_s: float
    _line: Line
    _group: asyncio.TaskGroup
    _stopping: asyncio.Event

    def __init__(
        self, feed: Callable[[_Sender], Coroutine[Any, Any, None]], clock: Callable[[], float]
    ) -> None:
        self._feed, self._clock = feed, clock
        self.began: Future[None] = Future()
        self.asked: list[Request] = []
        self.outcomes: list[Outcome] = []
        self.polls: list[Poll] = []
        self._flying: set[asyncio.Task[object]] = set()
        self._failures = 0
        self._stop_s, self._within_s, self._over = math.inf, 0.0, False

    async def talk(self, line: Line) -> None:
        """All of it, until it is stopped."""
        self._line, self.loop, self._stopping = line, asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as self._group:
            self.start_s = self._clock()
            feed = self._group.create_task(self._feed(self))
            watch = self._group.create_task(self._watch())
            self.began.set_result(None)
            await self._stopping.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._within_s == math.inf else self._within_s):
                    await self._drained(feed)
            self._over = True  # by which the feed ends
            await asyncio.sleep(0)  # what was sent last begins, and so is known
            for task in (watch, *self._flying):
                task.cancel()

    def stop(self, within_s: float) -> None:
        """Begin to end."""
        self._stop_s, self._within_s = self._clock(), within_s
        self._stopping.set()

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]], done: Future[None]) -> None:
        """Do `work` while the load goes on, and say when it is done."""

        async def told() -> None:
            await work()
            done.set_result(None)

        self._group.create_task(told())

    async def at_times(self, arrivals: Iterator[Due]) -> None:
        """Send each when it is due. What was due before the stop and is late is still sent, and once the
        rest is given up on, given up on unsent: how late it was must not be lost."""
        for at_s, request in arrivals:
            due_s = self.start_s + at_s
            await self._until(due_s)
            if due_s > self._stop_s:
                return
            if self._over:
                self.outcomes.append(_broken(due_s, self._clock(), request, ()))
            else:
                self._send(self._answer(due_s, request))

    async def by_users(self, requests: Iterator[Request], users: int) -> None:
        """Let the users come in one after another."""
        for number in range(users):
            await self._until(self.start_s + STAGGER_S * number / users)
            self._send(self._user(requests))

    async def _user(self, requests: Iterator[Request]) -> None:
        while not self._stopping.is_set():
            if await self._answer(self._clock(), next(requests)):
                await self._until(self._clock() + BACK_OFF_S)
            await asyncio.sleep(0)  # an answer that took no time must not keep all others waiting

    async def _until(self, due_s: float) -> None:
        """Wait until then or the stop; let others work in any case."""
        delay_s = due_s - self._clock()
        if delay_s <= 0 or self._stopping.is_set():
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    def _send(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._group.create_task(work)
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)

    async def _answer(self, due_s: float, request: Request) -> bool:
        """Ask, and keep what comes of it; whether it was turned away."""
        sent_s, came = self._clock(), list[float]()
        self.asked.append(request)
        try:
            done = await self._line.ask(request, came)
        except EngineFault as fault:
            broken = _broken(due_s, sent_s, request, came)
            self.outcomes.append(
                broken._replace(done_s=self._clock(), fault=str(fault), wanted_tokens=None)
            )
            busy = isinstance(fault, Busy)
            self._failures = 0 if busy else self._failures + 1
            if self._failures >= DEAD:
                raise
            return busy
        except asyncio.CancelledError:
            self.outcomes.append(_broken(due_s, sent_s, request, came))
            raise
        else:
            self._keep(due_s, sent_s, done, request)
            return False

    def _keep(self, due_s: float, sent_s: float, done: Completion, request: Request) -> None:
        """Sent is when it was asked for: what the engine does before it begins is its own queue."""
        self._failures = 0
        self.outcomes.append(
            Outcome(due_s, sent_s, done.done_s, done.stamps_s, done.prompt_tokens, cut=request.cut)
        )

    async def _drained(self, feed: asyncio.Task[None]) -> None:
        await asyncio.wait([feed])
        while self._flying:
            await asyncio.wait(self._flying)

    async def _watch(self) -> None:
        """Ask the server how busy it is, at even steps as far as it answers in time."""
        while not self._stopping.is_set():
            try:
                queue = await self._line.queue()
            except (EngineFault, UserError):
                queue = None
            self.polls.append(Poll(self._clock(), queue))
            steps = (self._clock() - self.start_s) // GAUGE_S
            await self._until(self.start_s + (steps + 1) * GAUGE_S)


def _broken(due_s: float, sent_s: float, request: Request, came: Sequence[float]) -> Outcome:
    """Of what was given up; its tokens until then are the window's as all others."""
    asked, wanted = len(request.tokens), request.new_tokens
    return Outcome(due_s, sent_s, None, tuple(came), asked, wanted_tokens=wanted, cut=request.cut)


def _first(error: BaseException) -> BaseException:
    """The first that is no consequence of another."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
