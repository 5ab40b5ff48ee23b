"""An agent: the SDK's own client, which starts a server as its own process and calls its tools."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


class Answer(NamedTuple):
    """What a tool has answered."""

    failed: bool
    text: str
    content: Any
    """What is structured of it."""


class Agent:
    """A client with a server."""

    def __init__(self, portal: BlockingPortal, session: ClientSession) -> None:
        self._portal, self._session = portal, session

    def tools(self) -> dict[str, Any]:
        """By name."""
        return {tool.name: tool for tool in self._portal.call(self._session.list_tools).tools}

    def ask(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool."""
        found = self._portal.call(partial(self._session.call_tool, tool, arguments))
        text = "\n".join(part.text for part in found.content)
        return Answer(bool(found.is_error), text, found.structured_content)

    def told(self, tool: str, **arguments: Any) -> Any:
        """What a tool tells that does not fail."""
        answer = self.ask(tool, **arguments)
        assert not answer.failed, answer.text
        return answer.content


@contextmanager
def agent(
    *words: str, cwd: Path, errors: Path | None = None, **environment: str
) -> Iterator[Agent]:
    """One with a server of its own, ``greenbench mcp WORDS``, whose standard error goes to `errors`."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "greenbench", "mcp", *words],
        cwd=cwd,
        env=dict(os.environ)
        | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        | environment,
    )
    with (
        (errors or Path(os.devnull)).open("w") as log,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_connected(parameters, log)) as session,
    ):
        yield Agent(portal, session)


@asynccontextmanager
async def _connected(parameters: StdioServerParameters, log: Any) -> AsyncIterator[ClientSession]:
    async with (
        stdio_client(parameters, errlog=log) as streams,
        ClientSession(*streams) as session,
    ):
        await session.initialize()
        yield session
