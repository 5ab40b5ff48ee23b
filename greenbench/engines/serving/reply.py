"""One request over HTTP: a reply that is one, or a sentence; its connection is closed whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from greenbench.engines.serving.endpoint import Endpoint
from greenbench.errors import EngineFault, UserError

if TYPE_CHECKING:
    import aiohttp

Body = Mapping[str, object]
DYING_S = 0.05
"""A program that dies cuts its connections a moment before it is gone."""


def session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """What holds the connections to `endpoint`; made within a running loop."""
    import aiohttp

    return aiohttp.ClientSession(
        # llama.cpp drops connections that are used again; one a request costs nothing on loopback
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=endpoint.silence_s, sock_read=endpoint.silence_s
        ),
        headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
        trust_env=False,
    )


@asynccontextmanager
async def reply(
    endpoint: Endpoint, at: aiohttp.ClientSession, path: str, body: Body | None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A reply of status 200 to `body`, or of what is there without one.

    Raises EngineFault, MemoryError or UserError, in one sentence. Whoever is cancelled within hangs up, by
    which a server knows that it need not go on.
    """
    import aiohttp

    method = "GET" if body is None else "POST"
    try:
        async with at.request(
            method, endpoint.url + path, json=body, allow_redirects=False
        ) as found:
            if 300 <= found.status < 400:
                raise endpoint.moved(found.headers.get("Location", ""))
            if found.status != 200:
                said = (await found.read()).decode(errors="replace")
                raise endpoint.refused(found.status, said, _stops(body))
            yield found
    except (aiohttp.ClientError, OSError) as error:
        raise await _explained(endpoint, error) from error


def _stops(body: Body | None) -> int:
    """The strings that are to end its answer."""
    stops = (body or {}).get("stop")
    return len(stops) if isinstance(stops, list) else 0


async def _explained(endpoint: Endpoint, error: Exception) -> Exception:
    """Its sentence."""
    import aiohttp

    await asyncio.sleep(DYING_S)
    try:
        endpoint.alive()
    except (EngineFault, MemoryError) as ended:
        return ended
    if isinstance(error, aiohttp.InvalidURL):
        return UserError(
            f"engine.url={endpoint.url} is no address: say one as http://127.0.0.1:8000."
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return endpoint.fault(
            f"does not speak https as it should ({type(error).__name__})",
            "say http:// where it speaks no https, or give it a certificate that this machine knows",
        )
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return endpoint.nothing_there()
    if isinstance(error, TimeoutError):
        return EngineFault(
            f"The server of engine={endpoint.engine} hangs: it has sent nothing for "
            f"{endpoint.silence_s:g} s; {endpoint.remedy}."
        )
    how = " ".join(f"{type(error).__name__}: {endpoint.hidden(str(error))}".split())[:200].rstrip(
        ". "
    )
    return endpoint.fault(f"cut the connection ({how})")
