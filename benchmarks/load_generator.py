"""What our load generator itself costs: it sends to a server that answers at once and computes nothing.

    python benchmarks/load_generator.py [--rates 100 500] [--tokens 1 32] [--seconds 10]

The server is a program of its own, so the seconds of CPU are the generator's alone: a request's part of
them, and their share of one core while the load lasts. A run is flagged (`late_sends`) where over 5 % of
the time that requests took had passed before they were sent; against a server that takes no time that
share is as high as it can be, so how late requests were sent is told in milliseconds, and how long they
must take for that to be 5 %. Requests arrive at random (Poisson), and each token streams in an event of
its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from greenbench.engines.engine import Request, Served
from greenbench.engines.serving.client import Client
from greenbench.engines.serving.endpoint import Endpoint
from greenbench.measure.arrivals import Due
from greenbench.measure.driver import at_times
from greenbench.measure.outcomes import Outcome
from greenbench.measure.tally import LATE

PROMPT = 64
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
READY_S = 10.0


class Cost(NamedTuple):
    """Of one rate."""

    answered: int
    due_per_s: float
    cpu_ms: float
    """Of a request."""
    late_ms: tuple[float, float]
    """Mean and p99 between when a request was due and when it was sent."""
    takes_ms: float
    """A request, from its sending to its end; mean."""


def main() -> int:
    """Print a row for each rate and length of answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 500.0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 32], help="of each answer")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        asyncio.run(_serve(asked.serve))
        return 0
    for tokens in asked.tokens:
        for rate in asked.rates:
            with _server() as url:
                cost = _measured(url, rate, tokens, asked.seconds)
            late, p99 = cost.late_ms
            print(
                f"{tokens} tokens, {rate:g} requests/s: {cost.answered} answered, due at "
                f"{cost.due_per_s:.1f}/s; {cost.cpu_ms:.2f} ms of CPU a request, "
                f"{cost.cpu_ms * cost.due_per_s / 1000:.0%} of a core; sent {late:.2f} ms late "
                f"(p99 {p99:.2f}), which is {LATE:.0%} of {late / LATE:.0f} ms; these took "
                f"{cost.takes_ms:.2f} ms",
                flush=True,
            )
    return 0


def _measured(url: str, rate: float, tokens: int, seconds: float) -> Cost:
    client = Client(Endpoint("null", url))
    try:
        client.complete([Request((1, 2, 3), tokens)])  # imports and opens what the first one does
        before_s = time.process_time()
        with at_times(_as_served(client), _due(rate, tokens)) as flow:
            flow.wait(seconds)
            outcomes, _ = flow.stop(READY_S)
        spent_s = time.process_time() - before_s
    finally:
        client.close()
    return _cost(outcomes, spent_s, seconds)


def _cost(outcomes: list[Outcome], cpu_s: float, seconds: float) -> Cost:
    assert all(each.answered for each in outcomes), "a request was not answered"
    late = sorted(1000 * (each.sent_s - each.due_s) for each in outcomes)
    takes = [1000 * (each.done_s - each.sent_s) for each in outcomes if each.done_s]
    return Cost(
        answered=len(outcomes),
        due_per_s=len(outcomes) / seconds,
        cpu_ms=1000 * cpu_s / len(outcomes),
        late_ms=(sum(late) / len(late), late[int(0.99 * len(late))]),
        takes_ms=sum(takes) / len(takes),
    )


def _due(rate: float, tokens: int) -> Iterator[Due]:
    dice, at_s = random.Random(0), 0.0
    while True:
        at_s += dice.expovariate(rate)
        yield Due(at_s, Request(tuple(dice.randrange(1000) for _ in range(PROMPT)), tokens))


def _as_served(client: Client) -> Served:
    """All that a load asks of a served model is to be conversed with."""
    return client  # type: ignore[return-value]


@contextmanager
def _server() -> Iterator[str]:
    """The null server in a program of its own; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    if head.startswith("post"):
        length = int(head.split("content-length:")[1].split()[0])
        asked = json.loads(await reader.readexactly(length))
        writer.write(HEAD)
        for place in range(asked["max_tokens"]):
            writer.write(_event({"choices": [{"text": "a", "token_ids": [place]}]}))
            await writer.drain()
        usage = {"completion_tokens": asked["max_tokens"], "prompt_tokens": len(asked["prompt"])}
        writer.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
    else:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


def _event(what: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(what).encode() + b"\n\n"


if __name__ == "__main__":
    raise SystemExit(main())
