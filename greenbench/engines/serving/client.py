"""Requests to an OpenAI-compatible server: prompts are token ids, answers are timed as they stream in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from greenbench.engines.engine import Completion, Line, Queue, Request, T
from greenbench.engines.query import confidence
from greenbench.engines.serving.answer import Answer
from greenbench.engines.serving.endpoint import Endpoint
from greenbench.engines.serving.gauges import Gauges
from greenbench.engines.serving.reply import Body, reply, session
from greenbench.schema.enums import Stop

if TYPE_CHECKING:
    import aiohttp

COMPLETIONS = "/v1/completions"
STREAMED: Body = {"stream": True, "stream_options": {"include_usage": True}}
SURE: Body = {"logprobs": 1}
"""Of each token, how likely it was."""
Post = Callable[[str, Body], Any]
"""Sends one request, awaited."""


class Client:
    """Sends requests; all of a batch are in flight at once.

    Any thread may use it, one at a time.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._gauges = endpoint, Gauges(endpoint)
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None

    def close(self) -> None:
        """Let go of the loop and its connections."""
        if self._session is not None:
            self._runner.run(self._session.close())
        self._runner.close()

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """Answer all of `batch` at once, greedily. Raises EngineFault or UserError, in one sentence."""
        return self._all([self.streamed(*each) for each in enumerate(batch)])

    def converse(self, talk: Callable[[Line], Awaitable[T]]) -> T:
        """What `talk` returns, which asks as it likes; what it leaves unanswered is given up."""

        async def talking() -> T:
            try:
                return await talk(_InFlight(self))
            finally:
                await _give_up_the_rest()

        return self._runner.run(talking())

    def ask(self, asked: Sequence[tuple[str, Body]], at_once: int = 1) -> list[dict[str, Any]]:
        """The server's whole answers to paths and bodies, in order, `at_once` of them in flight."""

        async def one(path: str, body: Body) -> dict[str, Any]:
            async with room:
                return await self._whole(path, body)

        room = asyncio.Semaphore(at_once)
        return self._all([one(*each) for each in asked])

    def tell(self, path: str) -> None:
        """What needs no answer. Raises EngineFault or UserError, in one sentence, where it is refused."""

        async def telling() -> None:
            async with reply(self._endpoint, self._opened(), path, {}):
                pass

        self._all([telling()])

    def get(self, path: str) -> dict[str, Any]:
        """What the server has at `path`. Raises EngineFault or UserError, in one sentence."""
        (found,) = self._all([self._whole(path, None)])
        return dict(found)

    def chains(self, chains: Iterable[Callable[[Post], Any]]) -> list[Any]:
        """Run `chains` beside each other: each may send one request after another."""
        return self._all([chain(self._whole) for chain in chains])

    def _all(self, work: Sequence[Any]) -> list[Any]:
        """What each of `work` gives; where one fails the others are given up."""

        async def together() -> list[Any]:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(each) for each in work]
            except BaseExceptionGroup as errors:
                raise _first(errors) from None
            return [task.result() for task in tasks]

        return self._runner.run(together())

    def _opened(self) -> aiohttp.ClientSession:
        """Within the client's loop."""
        if self._session is None:
            self._session = session(self._endpoint)
        return self._session

    async def queue(self) -> Queue | None:
        """What the server says of its requests; null where it does not tell. Within the client's loop."""
        return await self._gauges.read(self._opened())

    async def streamed(
        self, place: int | None, request: Request, came: list[float] | None = None
    ) -> Completion:
        """One request, from its sending to its end; `came` is as in `Line.ask`. Within the client's loop."""
        answer = Answer(self._endpoint)
        try:
            return await self._answered(place, request, answer)
        except BaseException:
            if came is not None:
                came += answer.so_far_s()
            raise

    def write(self, bodies: Sequence[Body]) -> list[tuple[Completion, Answer]]:
        """The answers to all of `bodies`, in flight at once, with their texts."""

        async def one(place: int, body: Body) -> tuple[Completion, Answer]:
            answer = Answer(self._endpoint)
            return await self._asked(self._named({**STREAMED, **body}), place, answer), answer

        return self._all([one(*each) for each in enumerate(bodies)])

    async def _answered(self, place: int | None, request: Request, answer: Answer) -> Completion:
        done = await self._asked(self._body(request), place, answer)
        if request.stop is Stop.fixed and done.tokens != request.new_tokens:
            raise self._endpoint.fault(
                f"made {done.tokens} tokens where {request.new_tokens} were asked for, as it does not know "
                "ignore_eos",
                "say workload.stop=natural",
            )
        return done

    async def _asked(self, body: Body, place: int | None, answer: Answer) -> Completion:
        """Send `body`, whose prompt is of tokens, and take what streams in into `answer`."""
        at = self._opened()
        body = {**body, **self._endpoint.extra(place)}
        sent_s = time.perf_counter()
        async with reply(self._endpoint, at, COMPLETIONS, body) as found:
            async for raw in found.content.iter_any():
                answer.feed(raw, time.perf_counter())
        done_s = time.perf_counter()
        if not answer.ended:
            raise self._endpoint.fault("ended its answer in the middle")
        # One that ends without a text may have made a token all the same.
        stamps_s = answer.stamps_s() or (done_s,) * answer.tokens()
        read = len(cast("list[int]", body["prompt"]))
        return Completion(len(stamps_s), read, sent_s, stamps_s, done_s, confidence(answer.nats))

    def _body(self, request: Request) -> dict[str, object]:
        body: dict[str, object] = {
            "prompt": list(request.tokens),
            "max_tokens": request.new_tokens,
            "temperature": 0,
            **STREAMED,
        }
        if request.stop is Stop.fixed:
            body |= {"ignore_eos": True}
        if request.sure:
            body |= SURE
        return self._named(body)

    def _named(self, body: Body) -> dict[str, object]:
        model = self._endpoint.model
        return {**body, "model": model} if model else dict(body)

    async def _whole(self, path: str, body: Body | None) -> dict[str, Any]:
        """One request whose answer comes as a whole; without a body, of what is there."""
        asked = None if body is None else self._named(body)
        async with reply(self._endpoint, self._opened(), path, asked) as answer:
            raw = await answer.read()
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._endpoint.no_json("answers with", raw)
        return found


class _InFlight:
    """Requests beside each other, none of which has a slot of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, request: Request, came: list[float] | None = None) -> Completion:
        """Its answer as it streams in; to give it up hangs up."""
        return await self._client.streamed(None, request, came)

    async def queue(self) -> Queue | None:
        """As its page says."""
        return await self._client.queue()


async def _give_up_the_rest() -> None:
    """Cancel all that runs in this loop but who calls: it would go on beside whatever is asked next."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for each in rest:
        each.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first that is no consequence of another."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
