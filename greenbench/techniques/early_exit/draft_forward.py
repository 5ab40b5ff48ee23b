"""Self-speculation: the early blocks draft tokens, the later ones verify them (LayerSkip, arXiv 2404.16710).

Drafts and verification share one cache, and the verifying pass starts from the hidden states that
drafting left, so no block runs twice for a token. What is generated is what greedy decoding gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from greenbench.errors import UserError
from greenbench.models.parts import Run, decoder_blocks, returns_tuple, rewire
from greenbench.techniques.early_exit.features import ends
from greenbench.techniques.early_exit.heads import ExitHead


class Halves:
    """A model whose early and later blocks can run apart; building it changes the model in place."""

    def __init__(self, model: Any, head: ExitHead, first: int) -> None:
        """The first `first` blocks are the early ones; `head` speaks for them."""
        self.model, self._head, self._first = model, head, first
        self._part = "whole"
        self._states: list[torch.Tensor] = []
        tupled = returns_tuple(model)
        for index, block in enumerate(decoder_blocks(model)):
            rewire(block, partial(self._block, index), tupled=tupled)
        ends(model).norm_layer.register_forward_pre_hook(self._translated)

    def whole(self, tokens: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits after the last of `tokens` (1, n), by all blocks."""
        logits: torch.Tensor = self.model(tokens, past_key_values=cache, logits_to_keep=1).logits
        return logits[:, -1]

    def draft(self, token: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits after `token` (1, 1), by the early blocks and their head."""
        with self._only("early"):
            logits: torch.Tensor = self.model(token, past_key_values=cache).logits
        return logits[:, -1]

    def extend(self, token: torch.Tensor, cache: Any) -> None:
        """Bring `token` (1, 1) through the early blocks, where its logits are not needed."""
        with self._only("early"):
            self.model.base_model(token, past_key_values=cache)

    def verify(self, tokens: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits (n, vocabulary) after each of the drafted `tokens` (1, n), by the later blocks."""
        early, count = cache.layers[: self._first], tokens.shape[1]
        with self._only("late"), _rewound(early, count):
            logits: torch.Tensor = self.model(tokens, past_key_values=cache).logits
        self._states.clear()
        return logits[0]

    @contextmanager
    def _only(self, part: str) -> Iterator[None]:
        self._part = part
        try:
            yield
        finally:
            self._part = "whole"

    def _block(self, index: int, run: Run, hidden: torch.Tensor, kwargs: Any) -> torch.Tensor:
        early = index < self._first
        if self._part == "late" and index == self._first:
            hidden = torch.cat(self._states, dim=1)
        if self._part == "early" and index == self._first:
            self._states.append(hidden)
        skipped = self._part == ("late" if early else "early")
        return hidden if skipped else run(hidden, **kwargs)

    def _translated(self, _: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (self._head(args[0]) if self._part == "early" else args[0],)


@contextmanager
def _rewound(layers: Sequence[Any], tokens: int) -> Iterator[None]:
    """Hide the last `tokens` that cache `layers` hold, as masks are made for what they hold."""
    before = [dict(vars(layer)) for layer in layers]
    for layer in layers:
        layer.crop(-tokens)
    try:
        yield
    finally:
        for layer, held in zip(layers, before, strict=True):
            vars(layer).update(held)


def decode(
    model: Any,
    input_ids: torch.Tensor,
    *,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    halves: Halves,
    drafts: int,
    observed: dict[str, Any],
    watcher: Any,
    **model_kwargs: Any,
) -> torch.Tensor:
    """A decoding loop for ``generate``: greedy, `drafts` tokens a round. Returns ids (1, tokens)."""
    if generation_config.do_sample or len(input_ids) > 1:
        raise UserError(
            "self_speculative decodes one sequence greedily: set workload.batch_size=1 and do not sample."
        )
    loop = _Loop(halves, logits_processor, stopping_criteria, model_kwargs["past_key_values"])
    loop.cache.activate_past_recording()
    mask = model_kwargs.get("attention_mask")
    seen = input_ids if mask is None else input_ids[:, mask[0].bool()]  # positions count from there
    ids, done = loop.emit(
        input_ids, loop.choose(input_ids, halves.whole(seen, loop.cache)), watcher
    )
    while not done:
        room = generation_config.max_length - ids.shape[1] - 1
        guess = loop.guess(ids, min(drafts, room))
        right, accepted = loop.check(ids, guess)
        _count(observed, drafted=guess.shape[1], accepted=accepted)
        ids, done = loop.emit(ids, right, watcher)
    if watcher is not None:
        watcher.end()
    return ids


class _Loop:
    """The parts of one round."""

    def __init__(self, halves: Halves, processor: Any, criteria: Any, cache: Any) -> None:
        self._halves, self._processor, self._criteria = halves, processor, criteria
        self.cache = cache

    def choose(self, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The greedy token (1, 1) that follows `ids`, given logits (1, vocabulary)."""
        logits = logits.to(copy=True, dtype=torch.float32)
        chosen: torch.Tensor = self._processor(ids, logits).argmax(dim=-1, keepdim=True)
        return chosen

    def guess(self, ids: torch.Tensor, drafts: int) -> torch.Tensor:
        """Draft tokens (1, `drafts`), and bring all of them through the early blocks."""
        start = ids.shape[1]
        for _ in range(drafts):
            token = self.choose(ids, self._halves.draft(ids[:, -1:], self.cache))
            ids = torch.cat([ids, token], dim=1)
        self._halves.extend(ids[:, -1:], self.cache)
        return ids[:, start:]

    def check(self, ids: torch.Tensor, guess: torch.Tensor) -> tuple[torch.Tensor, int]:
        """The tokens of `guess` that greedy decoding gives and the one after them; how many agreed."""
        logits = self._halves.verify(torch.cat([ids[:, -1:], guess], dim=1), self.cache)
        right: list[torch.Tensor] = []
        for place in range(guess.shape[1] + 1):
            token = self.choose(torch.cat([ids, *right], dim=1), logits[place : place + 1])
            right.append(token)
            if place == guess.shape[1] or token != guess[:, place]:
                break
        accepted = len(right) - 1
        self.cache.crop(accepted - guess.shape[1])
        return torch.cat(right, dim=1), accepted

    def emit(
        self, ids: torch.Tensor, tokens: torch.Tensor, watcher: Any
    ) -> tuple[torch.Tensor, bool]:
        """Append `tokens` until the first that ends the text; whether one did."""
        done, before = False, ids.shape[1]
        for place in range(tokens.shape[1]):
            ids = torch.cat([ids, tokens[:, place : place + 1]], dim=1)
            done = bool(self._criteria(ids, None).all())
            if done:
                break
        if watcher is not None:
            watcher.put(ids[:, before:].cpu())
        return ids, done


def _count(observed: dict[str, Any], *, drafted: int, accepted: int) -> None:
    """Add one round to what the record keeps."""
    observed["rounds"] = observed.get("rounds", 0) + 1
    observed["drafted"] = observed.get("drafted", 0) + drafted
    observed["accepted"] = observed.get("accepted", 0) + accepted
    total = observed["drafted"]
    observed["acceptance_rate"] = observed["accepted"] / total if total else None
