"""How sure a model is of each token that it takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from greenbench.engines.query import confidence


class Sureness(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped
    """Notes the log-probability, as the model has it, of the token that each row takes.

    Places are overwritten: of a place that drafts were tried at, the last look is the one that counts.
    """

    def __init__(self, prompt: int, then: LogitsProcessorList) -> None:
        """`prompt`: tokens of each row before its answer; `then` is done to the scores afterwards."""
        self._prompt, self._then = prompt, then
        self._nats: dict[int, torch.Tensor] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) of the tokens that follow `input_ids`."""
        then = self._then(input_ids, scores.clone()) if self._then else scores
        taken = then.argmax(dim=-1, keepdim=True)
        nats = scores.float().log_softmax(dim=-1).gather(1, taken)
        self._nats[input_ids.shape[1] - self._prompt] = nats[:, 0]
        return then

    def of(self, row: int, tokens: Sequence[int]) -> float | None:
        """How sure a row is of the `tokens` at these places; null where one was never looked at."""
        found = [self._nats.get(place) for place in tokens]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return None
        return confidence([float(each[row]) for each in known])
