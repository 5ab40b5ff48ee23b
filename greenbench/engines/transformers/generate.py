"""Greedy generation, each token timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer

from greenbench.engines.engine import Completion, Request
from greenbench.engines.transformers.sureness import Sureness
from greenbench.schema.enums import Stop


class Clock(BaseStreamer):  # type: ignore[misc]  # transformers is untyped
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
def complete(
    model: Any, batch: Sequence[Request], loop: Callable[..., Any] | None = None
) -> list[Completion]:
    """Generate greedily after all prompts of `batch` at once, and time every token.

    Prompts are of one length and their answers of one kind. `loop` stands for ``model.generate``.
    """
    new_tokens, stop = batch[0].new_tokens, batch[0].stop
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        min_new_tokens=new_tokens if stop is Stop.fixed else 1,
        max_new_tokens=new_tokens,
        pad_token_id=model.generation_config.pad_token_id or 0,
    )
    clock = Clock()
    start_s = time.perf_counter()
    prompt = torch.tensor([request.tokens for request in batch]).to(model.device)
    sureness = Sureness(prompt.shape[1], LogitsProcessorList())
    output = (loop or model.generate)(
        prompt,
        attention_mask=torch.ones_like(prompt),
        generation_config=config,
        logits_processor=LogitsProcessorList([sureness] if batch[0].sure else []),
        streamer=clock,
    )
    done_s = time.perf_counter()
    stamps = clock.times[1:]  # the first hand-out is the prompt itself
    return [
        Completion(
            count,
            prompt.shape[1],
            start_s,
            tuple(stamps[:count]),
            done_s,
            sureness.of(row, range(count)) if batch[0].sure else None,
        )
        for row, count in enumerate(_counts(output[:, prompt.shape[1] :], model, stop))
    ]


def _counts(new: torch.Tensor, model: Any, stop: Stop) -> list[int]:
    """Tokens really generated, per row: what follows its end-of-text token is padding."""
    ends = model.generation_config.eos_token_id
    if stop is Stop.fixed or ends is None:
        return [new.shape[1]] * len(new)
    is_end = torch.isin(new, torch.as_tensor(ends, device=new.device)).long()
    before = is_end.cumsum(dim=1) - is_end == 0  # no end before it, itself included
    return [int(count) for count in before.sum(dim=1)]
