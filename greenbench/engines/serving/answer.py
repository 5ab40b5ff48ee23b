"""One streamed answer, taken apart: its events, its tokens, and when each came.

https://html.spec.whatwg.org/multipage/server-sent-events.html, of which servers use the ``data`` lines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from greenbench.engines.serving.endpoint import Endpoint, told

END = "[DONE]"


class Chunk(NamedTuple):
    """What has come by one moment."""

    at_s: float
    tokens: int | None
    """Of the answer so far; null where the server has not said."""
    characters: int = 0
    """Of its text so far."""


class Answer:
    """Bytes in, as they arrive; tokens and their times out.

    Tokens are counted by what the server says of them (their ids, ``usage``, llama.cpp's timings), never by
    chunks: a chunk may hold several, or none.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """`endpoint` is who gives it."""
        self._endpoint, self._rest = endpoint, b""
        self._chunks: list[Chunk] = []
        self._events: list[Chunk] = []  # the same, those that came together apart
        self._ids = 0
        self._total: int | None = None
        self.ended = False
        """Whether the server has said that it is whole."""
        self.prompt_tokens: int | None = None
        self.text = ""
        self.nats: list[float] = []
        """Log-probabilities of its tokens, where they were asked for."""
        self.finish: str | None = None
        """Why it ended, as the server says: ``stop`` or ``length``."""

    def feed(self, raw: bytes, now_s: float) -> None:
        """Take what has just arrived: any part of lines, and any number of them. Raises EngineFault."""
        *lines, self._rest = (self._rest + raw).split(b"\n")
        before = len(self._chunks)
        for line in lines:
            if line.startswith(
                b"data:"
            ):  # all else is no data: comments that keep alive, blank lines
                self._event(line[5:].strip(), now_s)
        arrived = self._chunks[before:]
        if len(arrived) > 1:  # together: they have waited equally long
            tokens = [chunk.tokens for chunk in arrived if chunk.tokens is not None]
            if tokens:
                self._chunks[before:] = [Chunk(now_s, tokens[-1], len(self.text))]

    def stamps_s(self) -> tuple[float, ...]:
        """When each token came. Those that came together share their wait, but for the first ones."""
        total = self.tokens()
        stamps: list[float] = []
        for chunk, until in zip(self._chunks, _counts(self._chunks, total), strict=True):
            at_s = chunk.at_s
            count, before_s = until - len(stamps), stamps[-1] if stamps else at_s
            stamps += [before_s + (at_s - before_s) * (i + 1) / count for i in range(count)]
        return tuple(stamps)

    def beginning(self, tokens: int) -> str:
        """The text of at least its first `tokens`: as far as the chunk that the last of them came in."""
        places = zip(_counts(self._events, self.tokens()), self._events, strict=True)
        known = [chunk.characters for count, chunk in places if count >= tokens]
        return self.text[: known[0]] if known else self.text

    def so_far_s(self) -> tuple[float, ...]:
        """The same of an answer that broke off: where the server has not said how many tokens there were,
        each chunk had one at least."""
        said = self._total is not None or any(chunk.tokens is not None for chunk in self._chunks)
        return self.stamps_s() if said else tuple(chunk.at_s for chunk in self._chunks)

    def tokens(self) -> int:
        """All that were made. Raises EngineFault where the server does not say."""
        said = [chunk.tokens for chunk in self._chunks if chunk.tokens is not None]
        if self._total is not None:
            return self._total
        if said or not self._chunks:
            return said[-1] if said else 0
        raise self._endpoint.fault(
            "does not say how many tokens it has made, and chunks are not tokens",
            "choose one that answers stream_options.include_usage",
        )

    def _event(self, data: bytes, now_s: float) -> None:
        if data == END.encode():
            self.ended = True
            return
        event = self._parsed(data)
        if error := event.get("error"):
            wrong = told(error, self._endpoint.hidden)
            raise self._endpoint.fault(f"answers with an error ({wrong})")
        choice: dict[str, Any] = next(iter(event.get("choices") or ()), {})
        self.text += choice.get("text") or ""
        self.nats += _nats(choice.get("logprobs"))
        self.finish = choice.get("finish_reason") or self.finish
        self.ended = self.ended or self.finish is not None
        usage = event.get("usage") or {}
        self.prompt_tokens = usage.get("prompt_tokens", self.prompt_tokens)
        self._total = usage.get("completion_tokens", self._total)
        new, timings = choice.get("token_ids"), event.get("timings") or {}
        if new is not None:
            self._ids += len(new)
        elif choice and "predicted_n" in timings:
            self._ids = int(timings["predicted_n"])
        said = self._ids if new is not None or "predicted_n" in timings else None
        if said is None and choice and "completion_tokens" in usage:
            said = int(usage["completion_tokens"])
        known = next((c.tokens for c in reversed(self._chunks) if c.tokens is not None), 0)
        if choice and (choice.get("text") if said is None else said > known):
            for kept in (self._chunks, self._events):
                kept.append(Chunk(now_s, said, len(self.text)))

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
            if isinstance(event, dict):
                return event
        except ValueError:
            pass
        raise self._endpoint.no_json("streams", data)


def _nats(told: Any) -> list[float]:
    """As OpenAI's completions tell them, or as its chat does, which llama.cpp follows."""
    if not isinstance(told, dict):
        return []
    found = told.get("token_logprobs") or [each["logprob"] for each in told.get("content") or ()]
    return [float(each) for each in found if each is not None]


def _counts(chunks: Sequence[Chunk], total: int) -> list[int]:
    """Tokens by each chunk, never fewer than before; where not said, spread evenly."""
    counts, least = [], 0
    for place, chunk in enumerate(chunks, 1):
        said = -(-total * place // len(chunks)) if chunk.tokens is None else chunk.tokens
        least = max(least, min(said, total))
        counts.append(least)
    return [*counts[:-1], total] if counts else []
