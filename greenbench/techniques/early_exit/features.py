"""Where exits are, and what a frozen model computes there on text: what exit heads learn from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import decoder_blocks, final_norm, output_head
from greenbench.techniques.technique import Preparation

Translate = Callable[[torch.Tensor], torch.Tensor]


def places(exits: Sequence[float], config: Any, key: str) -> list[int]:
    """Exits as numbers of blocks, in order, given as such or as shares of the blocks.

    Raises UserError, naming `key`, for one that is not within the model.
    """
    depth = config.get_text_config().num_hidden_layers
    found = [round(place * depth) if place < 1 else int(place) for place in exits]
    for place, asked in zip(found, exits, strict=True):
        if not 0 < place < depth:
            raise UserError(
                f"{key}={asked:g} is after {place} blocks, but the model has {depth}: choose 1 to "
                f"{depth - 1}, or a share between."
            )
    return sorted(set(found))


def is_place(value: float) -> bool:
    """Whether it is a share of the blocks or a number of them."""
    return 0 < value < 1 or (value >= 1 and value == int(value))


def tokens(preparation: Preparation, passages: int, length: int) -> list[torch.Tensor]:
    """Token ids (1, `length` at most) of a seeded choice of passages of training text."""
    texts = list(preparation.calibration())
    return [
        preparation.tokenizer(text, return_tensors="pt", truncation=True, max_length=length)[
            "input_ids"
        ].to(preparation.device)
        for text in random.Random(preparation.seed).sample(texts, min(passages, len(texts)))
    ]


class Ends(NamedTuple):
    """What turns a block's hidden state into logits, as the model itself does."""

    norm_layer: nn.Module
    output_layer: nn.Module
    norm: Translate
    output: Translate

    def logits(self, translate: Translate, states: torch.Tensor) -> torch.Tensor:
        """Logits (..., vocabulary) of an exit with hidden states (..., width)."""
        return self.output(self.norm(translate(states)))


def ends(model: Any) -> Ends:
    """The model's final norm and its output head."""
    norm, output = final_norm(model), output_head(model)
    return Ends(norm, output, norm.forward, output.forward)


@torch.no_grad()
def require_ends(model: Any) -> None:
    """Raise Unsupported where the output head reads something else than the final norm gives."""
    found = ends(model)
    seen: list[torch.Tensor] = []
    handles = [
        found.norm_layer.register_forward_hook(lambda *call: seen.append(call[-1][:, -1])),
        found.output_layer.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, -1])),
    ]
    try:
        model(torch.ones((1, 2), dtype=torch.long, device=model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    normed, read = seen[-2:]
    if normed.shape != read.shape or not torch.equal(normed, read):
        raise Unsupported(
            f"{type(model).__name__} changes what its final norm gives before the output head reads it: "
            "exits do not know this architecture."
        )


class Features(NamedTuple):
    """What a frozen model computes on text, as rows of one token each."""

    states: dict[int, torch.Tensor]
    """Hidden states after so many blocks, of shape (tokens, width)."""
    final: torch.Tensor
    """Normed states of the last block, which the output head reads."""

    last: torch.Tensor
    """The same before the norm: what a translated state should be."""

    def rows(self, chosen: torch.Tensor) -> Features:
        """Some of the tokens."""
        states = {place: states[chosen] for place, states in self.states.items()}
        return Features(states, self.final[chosen], self.last[chosen])


@torch.no_grad()
def features(model: Any, places: Sequence[int], batches: Sequence[torch.Tensor]) -> Features:
    """Run the whole model over `batches` of token ids (1, tokens) and keep what the heads learn from.

    `places` are numbers of blocks before a state, each less than all.
    """
    kept: dict[int, list[torch.Tensor]] = {place: [] for place in places}
    ends_in: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(place: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            kept[place].append((args[0] if args else kwargs["hidden_states"]).flatten(0, 1))

        return hook

    blocks = decoder_blocks(model)
    handles = [
        blocks[place].register_forward_pre_hook(keep(place), with_kwargs=True) for place in places
    ]
    handles.append(
        ends(model).norm_layer.register_forward_hook(
            lambda _, args, normed: ends_in.append((normed.flatten(0, 1), args[0].flatten(0, 1)))
        )
    )
    try:
        for batch in batches:
            model(batch, use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    final, last = (torch.cat(side) for side in zip(*ends_in, strict=True))
    return Features({place: torch.cat(rows) for place, rows in kept.items()}, final, last)
