"""Where an answer in words ends, looked at after every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from greenbench.engines.writing import Ask, Markers, opened, shortest


class Endings(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped
    """Ends each row of a batch where one of its strings has come, its thoughts aside.

    transformers' own criterion of this kind makes tables of the whole vocabulary in every call of
    ``generate``, which would be charged to each answer.
    """

    def __init__(
        self, tokenizer: Any, asks: Sequence[Ask], prompt: int, marker: Markers | None
    ) -> None:
        """`prompt`: tokens of each row before its answer, padding included."""
        self._rows = [_Row(tokenizer.decode, ask, prompt, marker) for ask in asks]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Whether each row of `input_ids` (rows, tokens) has ended."""
        looked = zip(self._rows, input_ids.tolist(), strict=True)
        return torch.tensor([row.has_ended(ids) for row, ids in looked], device=input_ids.device)


class _Row:
    """One answer; of what was looked at before, only the last tokens are decoded again."""

    def __init__(
        self, decode: Callable[[list[int]], str], ask: Ask, prompt: int, marker: Markers | None
    ) -> None:
        self._decode, self._marker = decode, marker
        self._until = [stop for stop in ask.until if stop]
        strings = [*self._until, *(marker or ())]
        self._reach = max((len(each.encode()) for each in strings), default=0)  # a token each byte
        self._start = self._seen = prompt
        self._thinking = marker is not None and opened(decode(list(ask.tokens)), marker)
        self._blank = False  # what follows thoughts may begin with blanks, which end nothing
        self._ended = False

    def has_ended(self, ids: list[int]) -> bool:
        if self._until and not self._ended:
            self._ended = not self._thinks(ids) and any(
                stop in self._since(ids) for stop in self._until
            )
            self._seen = len(ids)
        return self._ended

    def _thinks(self, ids: list[int]) -> bool:
        if self._marker is None:
            return False
        opening, closing = self._marker
        self._thinking = self._thinking or opening in self._since(ids)
        if self._thinking and closing in self._since(ids):
            first = self._first(ids)
            self._start = first + shortest(
                len(ids) - first, lambda few: closing in self._decode(ids[first : first + few])
            )
            self._thinking, self._blank = False, True
        return self._thinking

    def _first(self, ids: list[int]) -> int:
        """From where on something new may show."""
        return max(self._start, min(self._seen, len(ids)) - self._reach)

    def _since(self, ids: list[int]) -> str:
        text = self._decode(ids[self._first(ids) :])
        if not self._blank:
            return text
        text = text.lstrip()
        if text:
            self._blank = False
        else:
            self._start = len(ids)
        return text
