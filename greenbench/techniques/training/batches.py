"""Training text in batches, in an order that follows from a seed and is the same for every recipe."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

import torch

from greenbench.errors import UserError

IGNORED = -100
"""A label that no loss counts, as transformers has it."""
Encode = Callable[[str], Sequence[int]]


class Batch(NamedTuple):
    """Token ids, mask and labels, each (texts, length)."""

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor

    @property
    def tokens(self) -> int:
        """Of text, padding excluded."""
        return int(self.mask.sum())

    @property
    def predicted(self) -> int:
        """Tokens that a text before them foretells."""
        return int((self.labels[:, 1:] != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        """On `device`."""
        return Batch(*(part.to(device) for part in self))


class Texts:
    """Tokenized texts: all at once, as whoever read one first would pay for both recipes."""

    def __init__(self, texts: Sequence[str], encode: Encode) -> None:
        """Raises UserError where there is none."""
        if not texts:
            raise UserError("There is no text to train on: take another training.dataset.")
        self._texts = [encode(text) for text in texts]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, place: int) -> Sequence[int]:
        return self._texts[place]

    def tokens(self, sequence: int) -> int:
        """Of all, `sequence` of each at most."""
        return sum(min(len(text), sequence) for text in self._texts)

    def in_order(self, seed: int) -> Iterator[Sequence[int]]:
        """For ever: all of them in a random order, then in another."""
        for epoch in count():
            for place in random.Random(f"{seed}:{epoch}").sample(range(len(self)), len(self)):
                yield self[place]


def batches(
    texts: Texts, seed: int, size: int, sequence: int, padding: int, *, packed: bool, whole: bool
) -> Iterator[Batch]:
    """Batches of `size` rows of at most `sequence` tokens; `whole`: padded to exactly so many."""
    rows = _packed(texts.in_order(seed), sequence) if packed else texts.in_order(seed)
    while True:
        taken = [row[:sequence] for row in islice(rows, size)]
        yield padded(taken, padding, sequence if whole else None)


def padded(rows: Sequence[Sequence[int]], padding: int, length: int | None = None) -> Batch:
    """`rows` padded behind, to `length` or that of the longest."""
    most = length or max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (most - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (most - len(row)) for row in rows])
    return Batch(ids, mask, ids.masked_fill(mask == 0, IGNORED))


def _packed(rows: Iterator[Sequence[int]], sequence: int) -> Iterator[list[int]]:
    held: list[int] = []
    for row in rows:
        held += row
        while len(held) >= sequence:
            yield held[:sequence]
            held = held[sequence:]
