"""Loads in virtual time: a loop whose clock jumps to the next thing that happens, and a server in it."""

import asyncio
import selectors

from greenbench.engines.engine import Completion
from helpers.engines import Words


class Jump(selectors.DefaultSelector):
    """Instead of waiting for nothing but time, moves the loop's clock on."""

    loop = None

    def select(self, timeout=None):
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self.loop.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at `now_s`."""

    def __init__(self, now_s=0.0):
        self.now_s = now_s
        jump = Jump()
        jump.loop = self
        super().__init__(jump)

    def time(self):
        return self.now_s


class Queueing:
    """One server that answers in turn: each answer takes the next of `services_s`, in virtual time.

    It is the `Served` and its `Line` at once. What it makes are `tokens` all at the end, in one chunk.
    """

    tokenizer, max_tokens = Words(), None

    def __init__(self, services_s=(), tokens=1):
        self.loop = VirtualLoop()
        self._services_s, self._tokens, self._free_s = iter(services_s), tokens, 0.0

    @property
    def clock(self):
        return self.loop.time

    def converse(self, talk):
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            return runner.run(talk(self))

    async def ask(self, request, came=None):
        sent_s = self.loop.time()
        self._free_s = max(self._free_s, sent_s) + next(self._services_s)
        await self.until(self._free_s)
        return self.completion(request, sent_s)

    def completion(self, request, sent_s, tokens=None):
        done_s = self.loop.time()
        count = self._tokens if tokens is None else tokens
        return Completion(count, len(request.tokens), sent_s, (done_s,) * count, done_s)

    async def until(self, at_s):
        """Wait until then."""
        await asyncio.sleep(at_s - self.loop.time())

    async def queue(self):
        return None
