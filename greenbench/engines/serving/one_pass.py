"""Log-likelihoods from the library beneath a server: a text in one pass, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import MappingProxyType

from greenbench.engines.query import Answer, Query
from greenbench.engines.serving.scoring import Scorer
from greenbench.errors import EngineFault

MOST_NATS = 0.1
"""Per token between library and server: batches round in another way, and nothing else may."""


class InOnePass:
    """A process of the library reads each text at once; the server confirms the shortest."""

    cannot: str | None = None

    def __init__(
        self,
        server: Scorer,
        command: Sequence[str],
        library: str,
        remedy: str,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`command` starts the process, `environment` beside ours; `library` and `remedy` are for people."""
        self._server, self._command = server, command
        self._library, self._remedy, self._environment = library, remedy, environment

    def score(self, queries: Sequence[Query], answered: Callable[[int, Answer], None]) -> None:
        """One after another: neighbours share beginnings, which are read once."""
        if not queries:
            return
        shortest = min(range(len(queries)), key=lambda place: len(queries[place].tokens))
        confirmed: list[Answer] = []
        self._server.score([queries[shortest]], lambda _, answer: confirmed.append(answer))
        with self._reader() as ask:
            for place, query in enumerate(queries):
                answer = ask(query)
                if place == shortest:
                    self._require_alike(answer, confirmed[0], len(query.targets))
                answered(place, answer)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[Query], Answer]]:
        """It ends with its input, and so with us."""
        with subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | dict(self._environment),
            start_new_session=True,
        ) as process:
            yield lambda query: self._read(process, query)

    def _read(self, process: subprocess.Popen[str], query: Query) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps([query.tokens, query.targets]) + "\n")
            process.stdin.flush()
        try:
            nats, greedy = json.loads(process.stdout.readline())
        except ValueError:
            raise EngineFault(
                f"{self._library} ended while it read a text (exit code {process.wait()}): {self._remedy}."
            ) from None
        return float(nats), bool(greedy)

    def _require_alike(self, read: Answer, told: Answer, tokens: int) -> None:
        apart = abs(read[0] - told[0]) / tokens
        if not apart <= MOST_NATS:
            raise EngineFault(
                f"{self._library} and its server are {apart:.2g} nats per token apart on the same text: "
                f"{self._remedy}."
            )
