"""Attention of a forest's tokens along their own paths, as if each path stood alone.

Masked attention over a whole row gives the same sums, but adds them up in other groups: in 16 bits
one number in 500 then rounds otherwise than in a row of its own, and near ties of a task's answers
fall the other way. The projections, where the work is, still see each shared token once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from greenbench.quality.forest import GRAIN, Batch

SDPA = "sdpa"
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
        self._groups = [
            _Group(*(part.to(device) for part in group))
            for group in _groups(batch.paths, device.type)
        ]
        self._home = _first(self._groups, batch.tokens.numel())
        self._masks: dict[int, tuple[torch.Tensor, list[torch.Tensor | None]]] = {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        """As transformers' attention functions: (rows, heads, length, size) to (rows, length, ...)."""
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        outputs = []
        for group, mask in zip(self._groups, self._masks_of(attention_mask), strict=True):
            known = self._all(key, group.keys), self._all(value, group.keys)
            states = (_gather(query, group.queries), *known)
            found, _ = sdpa_attention_forward(module, *states, mask, **options)
            outputs.append(found.flatten(0, 1))
        own = torch.cat(outputs)[self._home]
        return own.view(*self._shape, *own.shape[1:]), None

    def _all(self, states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Keys or values of the prefix, which all rows share, and of the paths."""
        own = _gather(states[:, :, self._prefix :], places)
        if not self._prefix:
            return own
        before = states[:1, :, : self._prefix].expand(len(own), -1, -1, -1)
        return torch.cat([before, own], dim=2)

    def _masks_of(self, whole: torch.Tensor) -> list[torch.Tensor | None]:
        """What `whole` says of each group of paths; gathered once, as the layers share it.

        `whole` is held too, as its id would else be free for another mask.
        """
        if id(whole) not in self._masks:
            found = [self._mask(whole[:, 0], group) for group in self._groups]
            self._masks[id(whole)] = whole, found
        return self._masks[id(whole)][1]

    def _mask(self, seen: torch.Tensor, group: _Group) -> torch.Tensor | None:
        """(paths, 1, width, prefix + length), or None for what is plainly causal."""
        length = group.keys.shape[1]
        queries = seen.flatten(0, 1)[group.queries]
        own = (self._prefix + group.keys % self._shape[1])[:, None].expand(*queries.shape[:2], -1)
        causal = torch.arange(length, device=own.device) <= group.steps[:, :, None]
        visible = queries.gather(2, own) & causal  # a leaf sees itself, not the padding with it
        if not self._prefix and queries.shape[1] == length and bool((visible == causal).all()):
            return None
        return torch.cat([queries[:, :, : self._prefix], visible], dim=2)[:, None]


class _Group(NamedTuple):
    """Paths that are computed together, padded with their leaves."""

    keys: torch.Tensor
    """(paths, length) row * length + place of the tokens of each path."""
    queries: torch.Tensor
    """(paths, width) the same of those whose attention is computed here."""
    steps: torch.Tensor
    """(paths, width) how many tokens of its path are before each query."""


def _groups(paths: torch.Tensor, device: str) -> list[_Group]:
    """All paths, or on a CPU those of as many grains, and of these only what no path before has.

    There a query's result is the same whichever others are beside it; elsewhere the kernel for
    whole paths is another than that for parts of them.
    """
    lengths = (paths >= 0).sum(1)
    leaves = paths.gather(1, lengths[:, None] - 1)
    padded = torch.where(paths < 0, leaves, paths)
    if device not in BY_GRAIN:
        return [_group(padded, lengths, torch.zeros_like(lengths))]
    alike = (paths[1:] == paths[:-1]) & (paths[1:] >= 0)  # depth first: most with the one before
    known = torch.cat([lengths[:1] * 0, alike.long().cumprod(1).sum(1)])
    kinds = torch.stack([lengths // GRAIN, known.sign()], dim=1)
    groups = []
    for kind in torch.unique(kinds, dim=0):
        some = (kinds == kind).all(1) & (known < lengths)
        if some.any():
            groups.append(_group(padded[some], lengths[some], known[some]))
    return groups


def _group(padded: torch.Tensor, lengths: torch.Tensor, known: torch.Tensor) -> _Group:
    """Queries begin after the `known` tokens of each path."""
    length, width = int(lengths.max()), int((lengths - known).max())
    keys, steps = padded[:, :length], known[:, None] + torch.arange(width)
    return _Group(keys, keys.gather(1, steps.clamp(max=length - 1)), steps)


def _gather(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(rows, heads, length, size) to (paths, heads, length, size)."""
    return states.transpose(1, 2).flatten(0, 1)[places].transpose(1, 2)


def _first(groups: list[_Group], tokens: int) -> torch.Tensor:
    """Of each token where its output is, on one of its paths: on all it is the same."""
    places = torch.cat([group.queries.flatten() for group in groups])
    steps = torch.arange(len(places), device=places.device)
    return steps.new_zeros(tokens).scatter_reduce(0, places, steps, "amin", include_self=False)
