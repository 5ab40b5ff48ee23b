"""Requests made of real text, and how one request is run and timed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from greenbench.errors import UserError
from greenbench.schema.spec import WorkloadSpec


class Requests:
    """A seeded, endless sequence of prompt batches; the same index is the same prompt for everyone."""

    def __init__(self, tokenizer: Any, texts: Sequence[str], spec: WorkloadSpec, seed: int) -> None:
        """Cut `texts` into prompts of exactly ``spec.prompt_tokens`` tokens.

        Raises UserError where the prompt is too short for its frame or too long for the text.
        """
        self._spec = spec
        before, after = _frame(tokenizer, spec)
        length = spec.prompt_tokens - len(before) - len(after)
        if length < 1:
            raise UserError(
                f"workload.prompt_tokens={spec.prompt_tokens} leaves no room for text beside the "
                f"{len(before) + len(after)} tokens that every prompt has: raise it, or say "
                "workload.chat_template=false."
            )
        text = "\n\n".join(_enough(texts, spec, seed))
        joined = tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [joined[i : i + length] for i in range(0, len(joined) - length + 1, length)]
        if len(pieces) < spec.batch_size:
            raise UserError(
                f"workload.prompt_tokens={spec.prompt_tokens} at batch_size={spec.batch_size} "
                "needs more text than the data wheel has: shorten the prompt or the batch."
            )
        self._prompts = torch.tensor([before + piece + after for piece in pieces])

    def batch(self, index: int) -> torch.Tensor:
        """Prompt batch `index`: token ids of shape (batch_size, prompt_tokens)."""
        size, count = self._spec.batch_size, len(self._prompts)
        return self._prompts[[(index * size + row) % count for row in range(size)]]


MARK = "\u241e"  # a symbol that no text or template contains


def _frame(tokenizer: Any, spec: WorkloadSpec) -> tuple[list[int], list[int]]:
    """Tokens before and after the text: the chat template's, or the model's begin-of-text token."""
    if not spec.chat_template or not getattr(tokenizer, "chat_template", None):
        return list(tokenizer("")["input_ids"][:1]), []
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": MARK}], tokenize=False, add_generation_prompt=True
    )
    before, _, after = whole.partition(MARK)
    sides = (tokenizer(side, add_special_tokens=False)["input_ids"] for side in (before, after))
    return next(sides), next(sides)


def _enough(texts: Sequence[str], spec: WorkloadSpec, seed: int) -> list[str]:
    """A seeded choice of texts that surely fills 64 batches (a token has under 8 characters)."""
    wanted = 64 * spec.batch_size * spec.prompt_tokens * 8
    chosen: list[str] = []
    size = 0
    for text in random.Random(seed).sample(texts, len(texts)):
        chosen.append(text)
        size += len(text)
        if size > wanted:
            break
    return chosen
