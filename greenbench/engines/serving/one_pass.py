"""Log-likelihoods from the library beneath a server: a text in one pass, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO

from greenbench.engines.query import Answer, Query
from greenbench.engines.serving.endpoint import SILENCE_S
from greenbench.engines.serving.scoring import Scorer
from greenbench.errors import EngineFault

MOST_OF_LINE = 200
"""Characters of what the library says as it ends."""
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
        silence_s: float = SILENCE_S,
    ) -> None:
        """`command` starts the process, `environment` beside ours; `library` and `remedy` are for people.

        It may take `silence_s` for a text, and the first time to load the model too.
        """
        self._server, self._command = server, command
        self._library, self._remedy, self._environment = library, remedy, environment
        self._silence_s = silence_s

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
        with (
            TemporaryFile("w+", errors="replace") as log,
            subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | dict(self._environment),
                start_new_session=True,
            ) as process,
        ):
            assert process.stdin is not None
            try:
                yield lambda query: self._read(process, log, query)
            finally:
                with suppress(BrokenPipeError):  # what it was told last, it has not heard
                    process.stdin.close()

    def _read(self, process: subprocess.Popen[str], log: IO[str], query: Query) -> Answer:
        line = self._line(process, json.dumps([query.tokens, query.targets]))
        try:
            nats, greedy = json.loads(line)
        except ValueError:
            process.kill()  # where it says something else
            how = ": ".join([f"exit code {process.wait()}", *_last_line(log)])
            raise EngineFault(
                f"{self._library} ended while it read a text ({how}): {self._remedy}."
            ) from None
        return float(nats), bool(greedy)

    def _line(self, process: subprocess.Popen[str], asked: str) -> str:
        """What it says to `asked`; empty where it ends. Raises EngineFault where it hangs, and ends it."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._silence_s, end)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(f"{asked}\n")
                process.stdin.flush()
            said = process.stdout.readline()
        finally:
            timer.cancel()
        if late.is_set():
            raise EngineFault(
                f"{self._library} hangs: it has read a text for {self._silence_s:g} s; {self._remedy}."
            )
        return said

    def _require_alike(self, read: Answer, told: Answer, tokens: int) -> None:
        apart = abs(read[0] - told[0]) / tokens
        if not apart <= MOST_NATS:
            raise EngineFault(
                f"{self._library} and its server are {apart:.2g} nats per token apart on the same text: "
                f"{self._remedy}."
            )


def _last_line(log: IO[str]) -> list[str]:
    """Of what a process has written; none where that is nothing."""
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    return [line[:MOST_OF_LINE].rstrip(". ") for line in lines[-1:]]
