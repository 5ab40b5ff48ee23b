"""A model that a server answers for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from greenbench.engines.engine import Completion, Footprint, Line, Request, T
from greenbench.engines.query import Nearness, Seen, confidence
from greenbench.engines.serving.answer import Answer
from greenbench.engines.serving.client import SURE, Client
from greenbench.engines.tokenizer import Tokenizer
from greenbench.engines.writing import (
    Ask,
    Written,
    bounded,
    ended_at,
    in_two_steps,
    markers,
    may_think,
    thoughts,
)
from greenbench.machine.gpus import memory_of

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
    untraced: str = "the server does not tell what its time goes to"
    """Why it is not `Traceable`, where it is not."""


def _body(ask: Ask) -> dict[str, object]:
    """What a server is asked; of an answer that is drawn, how."""
    drawn: dict[str, object] = {"temperature": 0}
    if ask.draw:
        drawn = ask.draw._asdict() | {"top_k": ask.draw.top_k or -1}
    return {
        "prompt": list(ask.tokens),
        "max_tokens": ask.most_tokens,
        "stop": [each for each in ask.until if each],
        **drawn,
        **(SURE if ask.sure else {}),
    }


class FromServer:
    """Answers by requests; a server has done all its work when its last answer is there."""

    def __init__(self, client: Client, scorer: Callable[[Client], Scorer], body: Body) -> None:
        self._client, self._scorer, self._body = client, scorer, body
        self.tokenizer = body.tokenizer
        self.max_tokens: int | None = body.max_tokens
        self.untraced = body.untraced

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """As many requests in flight at once."""
        return self._client.complete(batch)

    def write(self, asks: Sequence[Ask]) -> list[Written]:
        """As many requests in flight at once.

        A server ends an answer at its strings amid its thoughts too: so these are asked for apart.
        """
        tokenizer, first = self.tokenizer, asks[0]
        marker = markers(tokenizer.template)
        prompt = self._body.plain.decode(first.tokens)
        if marker and any(first.until) and may_think(prompt, marker):
            return in_two_steps(self._write, asks, tokenizer.encode, marker)
        return bounded(self._write, asks, tokenizer.encode, marker)

    def _write(self, asks: Sequence[Ask]) -> list[Written]:
        found = self._client.write([_body(ask) for ask in asks])
        return [self._written(ask, *each) for ask, each in zip(asks, found, strict=True)]

    def _written(self, ask: Ask, done: Completion, answer: Answer) -> Written:
        marker = markers(self.tokenizer.template)
        prompt = self._body.plain.decode(ask.tokens)
        thought = thoughts(prompt, answer.beginning, done.tokens, marker)
        begun = len(answer.beginning(thought)) if thought else 0
        rest = ended_at(answer.text[begun:], ask.until)  # it may have stopped a token later
        whole = answer.text[:begun] + rest
        stopped = len(rest) < len(answer.text) - begun
        cut = answer.finish == "length" and not stopped
        if ask.sure:
            done = done._replace(confidence=confidence(answer.nats[thought:] or answer.nats))
        return Written(whole, done, cut, thought)

    def converse(self, talk: Callable[[Line], Awaitable[T]]) -> T:
        """Each request is the server's as soon as it is asked, and waits there."""
        return self._client.converse(talk)

    def language_model(self, done: Callable[[], None], reference: Seen | None) -> Any:
        """It, as lm-eval asks it; a server shows no logits of whole texts."""
        from greenbench.engines.serving.scoring import ServedModel

        body = self._body
        scorer = self._scorer(self._client)
        return ServedModel(body.plain, body.max_tokens, scorer, body.tokenizer.chat, done)

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
        """What its processes hold on the GPUs by now: a server keeps what it once took."""
        pids = self.pids()
        return memory_of(pids) if pids else None

    def pids(self) -> frozenset[int] | None:
        """As they are by now: a server may start workers."""
        return self._body.pids()
