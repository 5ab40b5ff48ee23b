"""Requests made of real text, and how one request is run and timed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from greenbench.errors import UserError
from greenbench.specs import Stop, WorkloadSpec


class Iteration(NamedTuple):
    """One request batch: what it made and when."""

    tokens: int
    prompt_tokens: int
    seconds: float
    ttft_s: float
    gaps_s: list[float]
    """Seconds between successive tokens."""


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


class _Clock(BaseStreamer):  # type: ignore[misc]  # transformers is untyped
    """Stamps each token as ``generate`` hands it out; reading it synchronizes the device."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt (batch, tokens), then each step's tokens: (batch,), or (1, accepted)."""
        now_s = time.perf_counter()
        count = value.shape[1] if self._prompt_seen and value.ndim == 2 else 1
        before_s = self.times[-1] if self.times else now_s
        # Tokens that arrive together have waited equally long each, on average.
        self.times += [before_s + (now_s - before_s) * (i + 1) / count for i in range(count)]
        self._prompt_seen = True

    def end(self) -> None:
        pass


@torch.inference_mode()
def generate(
    model: Any, prompt: torch.Tensor, new_tokens: int, stop: Stop = Stop.fixed
) -> Iteration:
    """Generate greedily after each row of `prompt` and time every token.

    Exactly `new_tokens` of them, or at most so many where the model itself may stop.
    """
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        min_new_tokens=new_tokens if stop is Stop.fixed else 1,
        max_new_tokens=new_tokens,
        pad_token_id=model.generation_config.pad_token_id or 0,
    )
    clock = _Clock()
    start = time.perf_counter()
    prompt = prompt.to(model.device)
    output = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), generation_config=config, streamer=clock
    )
    seconds = time.perf_counter() - start
    stamps = clock.times[1:]  # the first hand-out is the prompt itself
    return Iteration(
        tokens=_count(output[:, prompt.shape[1] :], model, stop),
        prompt_tokens=prompt.numel(),
        seconds=seconds,
        ttft_s=stamps[0] - start,
        gaps_s=[later - earlier for earlier, later in pairwise(stamps)],
    )


def _count(new: torch.Tensor, model: Any, stop: Stop) -> int:
    """Tokens really generated: what follows a row's end-of-text token is padding."""
    ends = model.generation_config.eos_token_id
    if stop is Stop.fixed or ends is None:
        return new.numel()
    is_end = torch.isin(new, torch.as_tensor(ends, device=new.device)).long()
    return int((is_end.cumsum(dim=1) - is_end == 0).sum())  # no end before it, itself included
