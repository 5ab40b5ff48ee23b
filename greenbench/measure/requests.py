"""Requests made of real text."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from math import sqrt
from typing import NamedTuple

from greenbench.engines.engine import Completion, Request
from greenbench.engines.tokenizer import Tokenizer
from greenbench.errors import UserError
from greenbench.schema.record import Prompted
from greenbench.schema.spec import WorkloadSpec

BATCHES = 64  # so many are surely filled; after them the prompts begin again
CHARACTERS = 8  # a token has fewer
GOLDEN = (sqrt(5) - 1) / 2  # its multiples, modulo 1, lie far apart however many there are


class Frame(NamedTuple):
    """The tokens that every prompt has around its text."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """How many."""
        return len(self.before) + len(self.after)

    def around(self, text: Sequence[int]) -> tuple[int, ...]:
        """The prompt."""
        return (*self.before, *text, *self.after)


class Requests:
    """A seeded, endless sequence of prompt batches; the same index is the same prompt for everyone."""

    def __init__(
        self, tokenizer: Tokenizer, texts: Sequence[str], spec: WorkloadSpec, seed: int
    ) -> None:
        """Cut `texts` into prompts of exactly ``spec.prompt_tokens`` tokens.

        Raises UserError where the prompt is too short for its frame or too long for the text.
        """
        self._spec = spec
        frame = frame_of(tokenizer, spec)
        length = spec.prompt_tokens - frame.tokens
        joined = _joined(tokenizer, _enough(texts, spec, seed))
        pieces = [joined[i : i + length] for i in range(0, len(joined) - length + 1, length)]
        if len(pieces) < spec.batch_size:
            raise _too_little_text(spec)
        self._prompts = [frame.around(piece) for piece in pieces]

    def batch(self, index: int, new_tokens: int | None = None) -> list[Request]:
        """Batch `index`; answers of the workload's length unless `new_tokens` says another."""
        size, count = self._spec.batch_size, len(self._prompts)
        most = self._spec.output_tokens if new_tokens is None else new_tokens
        rows = (self._prompts[(index * size + row) % count] for row in range(size))
        return [Request(prompt, most, self._spec.stop) for prompt in rows]


class Prompts:
    """All text of a run as one ring of tokens, from which prompts of any lengths are cut one after another.

    Every stretch of prompts has a place of its own, a whole number. A prompt repeats where it begins at the
    same token. Prompts of the workload's length that begin at one place do not before all text is read; those
    of two places do not at all, unless the places differ by a multiple of that length less one; and none
    begins where one of `Requests` does. So a run may read the text about as often as a prompt has tokens
    before a server that keeps prompts could have any to give back.
    """

    def __init__(
        self, tokenizer: Tokenizer, texts: Sequence[str], spec: WorkloadSpec, seed: int
    ) -> None:
        """Of all `texts`, in an order of the seed. Raises UserError as `Requests` does."""
        self.frame = frame_of(tokenizer, spec)
        self._tokenizer, self._spec = tokenizer, spec
        self._texts = random.Random(seed).sample(texts, len(texts))
        self._step = spec.prompt_tokens - self.frame.tokens
        joined = _joined(tokenizer, self._texts)
        self._ring = joined[: len(joined) // self._step * self._step]
        if not self._ring:
            raise _too_little_text(spec)

    def running(self, place: int) -> Running:
        """The text from `place` on."""
        count = len(self._ring) // self._step
        # Those of `Requests`, which warm up, begin in the first column.
        row, column = int(count * (place * GOLDEN % 1)), 1 + place % max(self._step - 1, 1)
        return Running(self._ring, row * self._step + column)

    def batches(self, place: int, new_tokens: int | None = None) -> Iterator[list[Request]]:
        """Batches of the workload's from `place` on, without end; `new_tokens` is as in `Requests.batch`."""
        spec, running = self._spec, self.running(place)
        most = spec.output_tokens if new_tokens is None else new_tokens
        while True:
            texts = [running.take(self._step) for _ in range(spec.batch_size)]
            yield [Request(self.frame.around(text), most, spec.stop) for text in texts]

    def whole(self, place: int) -> Iterator[list[int]]:
        """The texts one by one, each from its beginning to its end, from `place` on; over and over."""
        first = int(len(self._passages) * (place * GOLDEN % 1))
        while True:
            yield from self._passages[first:]
            first = 0

    @cached_property
    def _passages(self) -> list[list[int]]:
        encoded = map(self._tokenizer.encode, self._texts)
        return [tokens for tokens in encoded if tokens]


class Running:
    """A place in a ring of tokens that moves on with what is read."""

    def __init__(self, ring: Sequence[int], start: int) -> None:
        self._ring, self._at = ring, start % len(ring)

    def take(self, tokens: int) -> list[int]:
        """The next so many."""
        taken: list[int] = []
        while len(taken) < tokens:
            piece = self._ring[self._at : self._at + tokens - len(taken)]
            taken += piece
            self._at = (self._at + len(piece)) % len(self._ring)
        return taken


class Sent:
    """Which prompts were sent in windows: how many came again is counted."""

    def __init__(self) -> None:
        self._known: defaultdict[Hashable, set[int]] = defaultdict(set)
        self._sent = self._repeated = 0

    def add(self, to: Hashable, requests: Iterable[Request]) -> None:
        """They were sent in one window; one repeats where the same tokens were sent `to` the same before."""
        known = self._known[to]
        for request in requests:
            prompt = hash(request.tokens)  # of 64 bits, where all text would take gigabytes
            self._sent += 1
            self._repeated += prompt in known
            known.add(prompt)

    @property
    def counts(self) -> Prompted:
        """Of all windows so far."""
        return Prompted(sent=self._sent, repeated=self._repeated)


def frame_of(tokenizer: Tokenizer, spec: WorkloadSpec) -> Frame:
    """What surrounds the text of each prompt. Raises UserError where the workload leaves no room for text."""
    before, after = tokenizer.frame(chat=spec.chat_template)
    frame = Frame(tuple(before), tuple(after))
    if spec.prompt_tokens <= frame.tokens:
        raise UserError(
            f"workload.prompt_tokens={spec.prompt_tokens} leaves no room for text beside the "
            f"{frame.tokens} tokens that every prompt has: raise it, or say "
            "workload.chat_template=false."
        )
    return frame


def seconds_of(batch: Sequence[Completion]) -> float:
    """From the first request's sending to the last one's end."""
    return max(done.done_s for done in batch) - min(done.sent_s for done in batch)


def _joined(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    return tokenizer.encode("\n\n".join(texts))


def _too_little_text(spec: WorkloadSpec) -> UserError:
    return UserError(
        f"workload.prompt_tokens={spec.prompt_tokens} at batch_size={spec.batch_size} "
        "needs more text than the data wheel has: shorten the prompt or the batch."
    )


def _enough(texts: Sequence[str], spec: WorkloadSpec, seed: int) -> list[str]:
    """A seeded choice of texts that surely fills all batches."""
    wanted = BATCHES * spec.batch_size * spec.prompt_tokens * CHARACTERS
    chosen: list[str] = []
    size = 0
    for text in random.Random(seed).sample(texts, len(texts)):
        chosen.append(text)
        size += len(text)
        if size > wanted:
            break
    return chosen
