"""Requests to an OpenAI-compatible server: prompts are token ids, answers are timed as they stream in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.engines.engine import Completion, Request
from greenbench.engines.serving.answer import Answer, told
from greenbench.errors import EngineFault, UserError
from greenbench.schema.enums import Stop

if TYPE_CHECKING:
    import aiohttp

SILENCE_S = 300.0
"""A server that sends nothing for so long hangs."""
COMPLETIONS = "/v1/completions"
Body = Mapping[str, object]
Post = Callable[[str, Body], Any]
"""Sends one request, awaited."""


class Endpoint(NamedTuple):
    """A server, and how it is asked."""

    engine: str
    """For people."""
    url: str
    """Without a slash at its end."""
    model: str | None = None
    """As the server calls it; null where it has but one."""
    extra: Callable[[int], Mapping[str, object]] = lambda place: {}
    """What the request at this place of a batch says beside the usual."""
    key: str | None = None
    """Sent as a bearer token; it enters no message."""
    silence_s: float = SILENCE_S
    alive: Callable[[], None] = lambda: None
    """Raises, in one sentence, where its program has ended."""


class Client:
    """Sends requests; all of a batch are in flight at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None

    def close(self) -> None:
        """Let go of the loop and its connections."""
        if self._session is not None:
            self._runner.run(self._session.close())
        self._runner.close()

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """Answer all of `batch` at once, greedily. Raises EngineFault or UserError, in one sentence."""
        return self._all([self._streamed(*each) for each in enumerate(batch)])

    def ask(self, asked: Sequence[tuple[str, Body]], at_once: int = 1) -> list[dict[str, Any]]:
        """The server's whole answers to paths and bodies, in order, `at_once` of them in flight."""

        async def one(path: str, body: Body) -> dict[str, Any]:
            async with room:
                return await self._whole(path, body)

        room = asyncio.Semaphore(at_once)
        return self._all([one(*each) for each in asked])

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
            await self._opened()
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(each) for each in work]
            except BaseExceptionGroup as errors:
                raise _first(errors) from None
            return [task.result() for task in tasks]

        return self._runner.run(together())

    async def _opened(self) -> None:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                # llama.cpp drops connections that are used again; one a request costs nothing on loopback
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._endpoint.silence_s),
                headers=self._headers(),
                trust_env=False,
            )

    def _headers(self) -> dict[str, str]:
        key = self._endpoint.key
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def _streamed(self, place: int, request: Request) -> Completion:
        """One request, from its sending to its end."""
        answer = Answer(self._endpoint.engine)
        body = self._body(request) | dict(self._endpoint.extra(place))
        sent_s = time.perf_counter()
        async with _Reply(self._endpoint, self._session, COMPLETIONS, body) as reply:
            async for raw in reply.content.iter_any():
                answer.feed(raw, time.perf_counter())
        done_s = time.perf_counter()
        if not answer.ended:
            raise self._fault("ended its answer in the middle")
        stamps_s = answer.stamps_s()
        if request.stop is Stop.fixed and len(stamps_s) != request.new_tokens:
            raise self._fault(
                f"made {len(stamps_s)} tokens where {request.new_tokens} were asked for, as it does not know "
                "ignore_eos",
                "say workload.stop=natural",
            )
        read = len(request.tokens)
        return Completion(len(stamps_s), read, sent_s, stamps_s, done_s)

    def _body(self, request: Request) -> dict[str, object]:
        body: dict[str, object] = {
            "prompt": list(request.tokens),
            "max_tokens": request.new_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.stop is Stop.fixed:
            body |= {"ignore_eos": True}
        return self._named(body)

    def _named(self, body: Body) -> dict[str, object]:
        model = self._endpoint.model
        return {**body, "model": model} if model else dict(body)

    async def _whole(self, path: str, body: Body | None) -> dict[str, Any]:
        """One request whose answer comes as a whole; without a body, of what is there."""
        asked = None if body is None else self._named(body)
        async with _Reply(self._endpoint, self._session, path, asked) as reply:
            raw = await reply.read()
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._fault(f"answers with what is no JSON ({raw[:60]!r})")
        return found

    def _fault(self, what: str, remedy: str = "see its log") -> EngineFault:
        return EngineFault(f"The server of engine={self._endpoint.engine} {what}: {remedy}.")


class _Reply:
    """A reply of status 200, or a sentence."""

    def __init__(
        self,
        endpoint: Endpoint,
        session: aiohttp.ClientSession | None,
        path: str,
        body: Body | None,
    ) -> None:
        assert session is not None
        self._endpoint = endpoint
        method = "GET" if body is None else "POST"
        self._sent = session.request(method, endpoint.url + path, json=body)

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            reply = await self._sent.__aenter__()
        except Exception as error:
            raise self._explained(error) from error
        if reply.status != 200:
            said = (await reply.read())[:2000].decode(errors="replace")
            await self._sent.__aexit__(None, None, None)
            raise refused(self._endpoint, reply.status, said)
        return reply

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        await self._sent.__aexit__(kind, error, trace)
        if isinstance(error, Exception):
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        """Its sentence, where it is the server's and not ours."""
        import aiohttp

        if not isinstance(error, aiohttp.ClientError | OSError | asyncio.TimeoutError):
            return error
        name, silence_s = self._endpoint.engine, self._endpoint.silence_s
        try:
            time.sleep(0.05)  # a program that dies cuts its connections a moment before it is gone
            self._endpoint.alive()
        except (EngineFault, MemoryError) as ended:
            return ended
        if isinstance(error, asyncio.TimeoutError):
            return EngineFault(
                f"The server of engine={name} hangs: it has sent nothing for {silence_s:g} s; see its log."
            )
        how = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(". ")
        return EngineFault(f"The server of engine={name} cut the connection ({how}): see its log.")


def refused(endpoint: Endpoint, status: int, said: str) -> Exception:
    """The sentence on a reply that is none."""
    try:
        said = told(json.loads(said).get("error") or json.loads(said))
    except (ValueError, AttributeError):
        said = " ".join(said.split())[:120]
    if endpoint.key:
        said = said.replace(endpoint.key, "***")
    server = f"The server of engine={endpoint.engine}"
    if status in (401, 403):
        return UserError(
            f"{server} refuses the key ({status}): put a valid one into the environment variable that "
            "engine.key_variable names."
        )
    if status == 404:
        return UserError(
            f"{server} knows no such model or address (404{': ' + said if said else ''}): check "
            "engine.url and engine.model."
        )
    return EngineFault(f"{server} answered {status} ({said}): see its log.")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first that is no consequence of another."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
