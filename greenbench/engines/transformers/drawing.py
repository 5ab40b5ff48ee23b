"""Tokens that are drawn, each row's by its own seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from greenbench.engines.writing import Draw

MOST_SEED = 2**63 - 1


class Noise(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped
    """Makes the likeliest token a drawn one: the Gumbel-max trick (Maddison et al., 2014, arXiv 1411.0030).

    The noise depends on the row's seed and the token's place alone, so that an answer is the same whatever
    else is in its batch, and however tokens are drafted.
    """

    def __init__(self, draws: Sequence[Draw], prompt: int) -> None:
        """`prompt`: tokens of each row before its answer, padding included."""
        self._draws, self._prompt = draws, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) of the tokens that follow `input_ids`, with noise."""
        place = input_ids.shape[1] - self._prompt
        dice = torch.Generator(scores.device)
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, draw in zip(noise, self._draws, strict=True):
            dice.manual_seed((draw.seed * 1_000_003 + place) % MOST_SEED)
            row.exponential_(generator=dice)
        return scores.float() - noise.log()


def drawn(draws: Sequence[Draw], prompt: int) -> LogitsProcessorList:
    """What `generate` is to do to the scores of rows that are drawn alike, but for their seeds."""
    how = draws[0]
    found = LogitsProcessorList([TemperatureLogitsWarper(how.temperature)])
    if how.top_k:
        found.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        found.append(TopPLogitsWarper(how.top_p))
    found.append(Noise(draws, prompt))
    return found
