"""Requests made of real text."""

from __future__ import annotations

import random
from collections.abc import Sequence

from greenbench.engines.engine import Completion, Request, Tokenizer
from greenbench.errors import UserError
from greenbench.schema.spec import WorkloadSpec

BATCHES = 64  # so many are surely filled; after them the prompts begin again
CHARACTERS = 8  # a token has fewer


class Requests:
    """A seeded, endless sequence of prompt batches; the same index is the same prompt for everyone."""

    def __init__(
        self, tokenizer: Tokenizer, texts: Sequence[str], spec: WorkloadSpec, seed: int
    ) -> None:
        """Cut `texts` into prompts of exactly ``spec.prompt_tokens`` tokens.

        Raises UserError where the prompt is too short for its frame or too long for the text.
        """
        self._spec = spec
        before, after = tokenizer.frame(chat=spec.chat_template)
        length = spec.prompt_tokens - len(before) - len(after)
        if length < 1:
            raise UserError(
                f"workload.prompt_tokens={spec.prompt_tokens} leaves no room for text beside the "
                f"{len(before) + len(after)} tokens that every prompt has: raise it, or say "
                "workload.chat_template=false."
            )
        joined = tokenizer.encode("\n\n".join(_enough(texts, spec, seed)))
        pieces = [joined[i : i + length] for i in range(0, len(joined) - length + 1, length)]
        if len(pieces) < spec.batch_size:
            raise UserError(
                f"workload.prompt_tokens={spec.prompt_tokens} at batch_size={spec.batch_size} "
                "needs more text than the data wheel has: shorten the prompt or the batch."
            )
        self._prompts = [(*before, *piece, *after) for piece in pieces]

    def batch(self, index: int, new_tokens: int | None = None) -> list[Request]:
        """Batch `index`; answers of the workload's length unless `new_tokens` says another."""
        size, count = self._spec.batch_size, len(self._prompts)
        most = self._spec.output_tokens if new_tokens is None else new_tokens
        rows = (self._prompts[(index * size + row) % count] for row in range(size))
        return [Request(prompt, most, self._spec.stop) for prompt in rows]


def seconds_of(batch: Sequence[Completion]) -> float:
    """From the first request's sending to the last one's end."""
    return max(done.done_s for done in batch) - min(done.sent_s for done in batch)


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
