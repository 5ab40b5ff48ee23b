"""Attention of a forest's tokens along their own paths, as if each path stood alone.

Masked attention over a whole row gives the same sums, but adds them up in other groups: in 16 bits
one number in 500 then rounds otherwise than in a row of its own, and near ties of a task's answers
fall the other way. The projections, where the work is, still see each shared token once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch.nn.functional import scaled_dot_product_attention

from greenbench.engines.transformers.prefix_tree import GRAIN, Batch

SDPA = "sdpa"
BLOCK = 32
"""Queries that a CPU's kernel takes at once, with all keys, though the first see few."""
BY_GRAIN = {"cpu"}
"""Devices whose attention rounds what is left over of a grain otherwise, which padding would fill."""


@contextmanager
def along(batch: Batch, device: torch.device) -> Iterator[None]:
    """Let every model whose attention is transformers' SDPA attend along the paths of `batch`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # brings in all quantizers

    ALL_ATTENTION_FUNCTIONS[SDPA] = _Paths(batch, device)
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[SDPA]


class _Paths:
    """Stands in for SDPA: gathers each path's queries, keys and values, and puts the outputs back."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self._prefix, self._shape = len(batch.prefix), batch.tokens.shape
        self._groups = [group.to(device) for group in _groups(batch.paths, device.type)]
        self._home = _first(self._groups, batch.tokens.numel())
        self._masks: dict[int, tuple[torch.Tensor, list[list[torch.Tensor | None]]]] = {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor,
        scaling: float | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """As transformers' attention functions: (rows, heads, length, size) to (rows, length, ...)."""
        outputs = []
        for group, masks in zip(self._groups, self._masks_of(attention_mask), strict=True):
            queries = _gather(query, group.queries)
            keys, values = self._all(key, group.keys), self._all(value, group.keys)
            for cut, mask in zip(group.cuts, masks, strict=True):
                some, seen = queries[:, :, cut.start : cut.stop], self._prefix + cut.seen
                found = _attend(some, keys[:, :, :seen], values[:, :, :seen], mask, scaling)
                outputs.append(found.transpose(1, 2).flatten(0, 1))
        own = torch.cat(outputs).flatten(1).index_select(0, self._home)
        return own.view(*self._shape, query.shape[1], -1), None

    def _all(self, states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Keys or values of the prefix, which all rows share, and of the paths."""
        own = _gather(states[:, :, self._prefix :], places)
        if not self._prefix:
            return own
        before = states[:1, :, : self._prefix].expand(len(own), -1, -1, -1)
        return torch.cat([before, own], dim=2)

    def _masks_of(self, whole: torch.Tensor) -> list[list[torch.Tensor | None]]:
        """What `whole` says of each cut of each group; gathered once, as the layers share it.

        `whole` is held too, as its id would else be free for another mask.
        """
        if id(whole) not in self._masks:
            found = [self._cut_masks(whole[:, 0], group) for group in self._groups]
            self._masks[id(whole)] = whole, found
        return self._masks[id(whole)][1]

    def _cut_masks(self, seen: torch.Tensor, group: _Group) -> list[torch.Tensor | None]:
        """Of each cut (paths, 1, its queries, prefix + its keys); None for what is plainly causal."""
        queries = seen.flatten(0, 1)[group.queries]
        own = (self._prefix + group.keys % self._shape[1])[:, None].expand(*queries.shape[:2], -1)
        causal = torch.arange(own.shape[2], device=own.device) <= group.steps[:, :, None]
        visible = queries.gather(2, own) & causal  # a leaf sees itself, not the padding with it
        whole = torch.cat([queries[:, :, : self._prefix], visible], dim=2)
        masks: list[torch.Tensor | None] = []
        for start, stop, keys in group.cuts:
            mask = whole[:, start:stop, : self._prefix + keys]
            square = torch.ones_like(mask).tril()
            plain = mask.shape[1] == mask.shape[2] and torch.equal(mask, square)
            masks.append(None if plain else mask[:, None])
        return masks


class _Cut(NamedTuple):
    """Queries that are computed in one call, with no more keys than they can see."""

    start: int
    stop: int
    seen: int
    """How many of the keys."""


class _Group(NamedTuple):
    """Paths that are computed together, padded with their leaves."""

    keys: torch.Tensor
    """(paths, length) row * length + place of the tokens of each path."""
    queries: torch.Tensor
    """(paths, width) the same of those whose attention is computed here."""
    steps: torch.Tensor
    """(paths, width) how many tokens of its path are before each query."""
    cuts: list[_Cut]

    def to(self, device: torch.device) -> Self:
        """The same there."""
        where = {name: getattr(self, name).to(device) for name in ("keys", "queries", "steps")}
        return self._replace(**where)


def _groups(paths: torch.Tensor, device: str) -> list[_Group]:
    """All paths, or on a CPU those of as many grains, and of these only what no path before has.

    There a query's result is the same whichever others are beside it; elsewhere the kernel for
    whole paths is another than that for parts of them.
    """
    lengths = (paths >= 0).sum(1)
    leaves = paths.gather(1, lengths[:, None] - 1)
    padded = torch.where(paths < 0, leaves, paths)
    if device not in BY_GRAIN:
        return [_group(padded, lengths, torch.zeros_like(lengths), int(lengths.max()))]
    alike = (paths[1:] == paths[:-1]) & (paths[1:] >= 0)  # depth first: most with the one before
    known = torch.cat([lengths[:1] * 0, alike.long().cumprod(1).sum(1)])
    kinds = torch.stack([lengths // GRAIN, known.sign()], dim=1)
    groups = []
    for kind in torch.unique(kinds, dim=0):
        some = (kinds == kind).all(1) & (known < lengths)
        if some.any():
            groups.append(_group(padded[some], lengths[some], known[some], BLOCK))
    return groups


def _group(padded: torch.Tensor, lengths: torch.Tensor, known: torch.Tensor, block: int) -> _Group:
    """Queries begin after the `known` tokens of each path, and are cut into blocks."""
    length, width = int(lengths.max()), int((lengths - known).max())
    keys, steps = padded[:, :length], known[:, None] + torch.arange(width)
    cuts: list[_Cut] = []
    for start in range(0, width, block):
        stop = min(start + block, width)
        seen = min(int(steps[:, stop - 1].max()) // GRAIN * GRAIN + GRAIN, length)
        alike = bool(cuts) and cuts[-1].seen == seen
        cuts.append(_Cut(cuts.pop().start if alike else start, stop, seen))
    return _Group(keys, keys.gather(1, steps.clamp(max=length - 1)), steps, cuts)


def _gather(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(rows, heads, length, size) to (paths, heads, length, size)."""
    tokens = states.transpose(1, 2).flatten(0, 1)
    found = tokens.flatten(1).index_select(0, places.flatten())  # whole rows: indexing is slower
    return found.view(*places.shape, *tokens.shape[1:]).transpose(1, 2)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    """(paths, heads, length, size) each. With a mask no GPU's kernel takes heads in groups."""
    times = query.shape[1] // key.shape[1]
    if times > 1 and mask is not None and query.device.type != "cpu":
        key, value = (states.repeat_interleave(times, dim=1) for states in (key, value))
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _first(groups: list[_Group], tokens: int) -> torch.Tensor:
    """Of each token where its output is, on one of its paths: on all it is the same."""
    cuts = [group.queries[:, cut.start : cut.stop] for group in groups for cut in group.cuts]
    places = torch.cat([queries.flatten() for queries in cuts])
    steps = torch.arange(len(places), device=places.device)
    return steps.new_zeros(tokens).scatter_reduce(0, places, steps, "amin", include_self=False)
