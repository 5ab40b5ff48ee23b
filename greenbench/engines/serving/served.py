"""A model that a server answers for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.engines.engine import Completion, Footprint, Line, Request, T, Tokenizer
from greenbench.engines.query import Nearness, Seen
from greenbench.engines.serving.client import Client

if TYPE_CHECKING:
    from greenbench.engines.serving.scoring import Scorer


class Body(NamedTuple):
    """What is known of it."""

    tokenizer: Tokenizer
    """The model's."""
    plain: Any
    """The same, as lm-eval takes it: transformers'."""
    max_tokens: int
    """Longest sequence that the server takes."""
    footprint: Footprint
    """Its size."""
    at_once: int = 1
    """Requests in flight beside each other."""
    pids: Callable[[], frozenset[int] | None] = lambda: None
    """The server's processes; null where they cannot be seen."""


class FromServer:
    """Answers by requests; a server has done all its work when its last answer is there."""

    def __init__(self, client: Client, scorer: Callable[[Client], Scorer], body: Body) -> None:
        self._client, self._scorer, self._body = client, scorer, body
        self.tokenizer = body.tokenizer
        self.max_tokens: int | None = body.max_tokens

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """As many requests in flight at once."""
        return self._client.complete(batch)

    def converse(self, talk: Callable[[Line], Awaitable[T]]) -> T:
        """Each request is the server's as soon as it is asked, and waits there."""
        return self._client.converse(talk)

    def language_model(self, done: Callable[[], None], reference: Seen | None) -> Any:
        """It, as lm-eval asks it; a server shows no logits of whole texts."""
        from greenbench.engines.serving.scoring import ServedModel

        body = self._body
        scorer = self._scorer(self._client)
        return ServedModel(body.plain, body.max_tokens, scorer, self._client, body.at_once, done)

    def nearness(self) -> tuple[Seen | None, list[Nearness]]:
        """Not shown."""
        return None, []

    def footprint(self) -> Footprint:
        """What the engine has found out of it."""
        return self._body.footprint

    def synchronize(self) -> None:
        """Nothing is left to do when the answers are there."""

    def reset_peaks(self) -> None:
        """No marks are kept of a device."""

    def device_peak_bytes(self) -> int | None:
        """Unknown from outside."""
        return None

    def pids(self) -> frozenset[int] | None:
        """As they are by now: a server may start workers."""
        return self._body.pids()
