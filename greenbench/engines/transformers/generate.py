"""Greedy generation, each token timed."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from greenbench.engines.engine import Iteration
from greenbench.schema.spec import Stop


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
