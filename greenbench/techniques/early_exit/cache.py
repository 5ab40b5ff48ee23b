"""Keys and values of tokens that skipped a block: kept waiting, then filled in together.

Any decoder's own code computes them: the block runs on the waiting states with a stand-in for the cache
that takes the keys and values and stops the block there, before attention and MLP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from transformers import Cache

from greenbench.models.parts import Run

POSITIONAL = ("position_embeddings", "position_ids")
"""What the loop passes to a block for each token, besides its hidden state."""


class Held(NamedTuple):
    """All keys and values of a block so far, of shape (rows, heads, tokens, head width)."""

    keys: torch.Tensor
    values: torch.Tensor


def cache_name(kwargs: Mapping[str, Any]) -> str:
    """Under which name the model's loop passes the cache to a block; empty where there is none."""
    return next((name for name, value in kwargs.items() if isinstance(value, Cache)), "")


def fill(run: Run, states: torch.Tensor, kwargs: Mapping[str, Any]) -> Held:
    """Append the keys and values of `states` to the block's cache and return all it holds then."""
    name = cache_name(kwargs)
    filling = _Filling(kwargs[name])
    try:
        run(states, **{**kwargs, "attention_mask": None, name: filling})
    except _FilledError as filled:
        return filled.held
    raise AssertionError("the block did not update the cache")


def wait(index: int, states: torch.Tensor, kwargs: Mapping[str, Any]) -> None:
    """Remember that the tokens with `states` skipped block `index`; the cache itself carries this."""
    _waiting(kwargs)[index].append((states, {k: kwargs[k] for k in POSITIONAL if k in kwargs}))


def catch_up(index: int, run: Run, kwargs: Mapping[str, Any]) -> int:
    """Fill in all that waits for block `index`; returns how many tokens, over all rows, that were."""
    waiting = _waiting(kwargs).pop(index, None) if cache_name(kwargs) else None
    if not waiting:
        return 0
    states = torch.cat([states for states, _ in waiting], dim=1)
    places = [place for _, place in waiting]
    positional = {name: _joined([place[name] for place in places]) for name in places[0]}
    fill(run, states, {**kwargs, **positional})
    return states.shape[0] * states.shape[1]


def run_rows(
    run: Run, hidden: torch.Tensor, rows: torch.Tensor, kwargs: Mapping[str, Any]
) -> torch.Tensor:
    """Run a block for some `rows` of `hidden`, and give the others their keys and values only."""
    held, batch, name = fill(run, hidden, kwargs), len(hidden), cache_name(kwargs)
    chosen = {key: _rows_of(value, rows, batch) for key, value in kwargs.items()}
    view = _View(Held(held.keys[rows], held.values[rows]))
    return hidden.index_copy(0, rows, run(hidden[rows], **{**chosen, name: view}))


class _FilledError(Exception):
    """Ends a block whose keys and values are in the cache."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self.held = held


class _Filling:
    """Stands for the cache: takes keys and values, and ends the block."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise _FilledError(Held(*self._cache.update(*args, **kwargs)))


class _View:
    """Stands for a cache that already holds the current token: returns its keys and values."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def update(self, *_: Any, **__: Any) -> Held:
        return self._held


def _waiting(kwargs: Mapping[str, Any]) -> defaultdict[int, list[tuple[torch.Tensor, Any]]]:
    kept: defaultdict[int, list[tuple[torch.Tensor, Any]]] = vars(
        kwargs[cache_name(kwargs)]
    ).setdefault("waiting", defaultdict(list))
    return kept


def _joined(parts: list[Any]) -> Any:
    """Tensors (rows, tokens, ...) joined along the tokens; tuples of such tensors, each on its own."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts, dim=1)
    if isinstance(parts[0], tuple):
        return tuple(_joined(list(column)) for column in zip(*parts, strict=True))
    return parts[0]


def _rows_of(value: Any, rows: torch.Tensor, batch: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim > 1 and len(value) == batch:
        return value[rows]
    if isinstance(value, tuple):
        return tuple(_rows_of(each, rows, batch) for each in value)
    return value
