"""Attention of a forest's tokens along their own paths, as if each path stood alone.

Masked attention over a whole row gives the same sums, but adds them up in other groups: in 16 bits
one number in 500 then rounds otherwise than in a row of its own, and near ties of a task's answers
fall the other way. The projections, where the work is, still see each shared token once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
        self._groups = [group.to(device) for group in _groups(batch.paths, device.type)]
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
        for places, mask in zip(self._groups, self._masks_of(attention_mask), strict=True):
            states = (_gather(query, places), self._all(key, places), self._all(value, places))
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
            found = [self._mask(whole[:, 0], places) for places in self._groups]
            self._masks[id(whole)] = whole, found
        return self._masks[id(whole)][1]

    def _mask(self, seen: torch.Tensor, places: torch.Tensor) -> torch.Tensor | None:
        """(paths, 1, length, prefix + length), or None for what is plainly causal."""
        queries = seen.flatten(0, 1)[places]
        own = (self._prefix + places % self._shape[1])[:, None].expand(-1, places.shape[1], -1)
        causal = torch.ones_like(own, dtype=torch.bool).tril()
        visible = queries.gather(2, own) & causal  # a leaf sees itself, not the padding with it
        if not self._prefix and bool((visible == causal).all()):
            return None
        return torch.cat([queries[:, :, : self._prefix], visible], dim=2)[:, None]


def _groups(paths: torch.Tensor, device: str) -> list[torch.Tensor]:
    """Paths that are computed together, padded with their leaves: all, or those of as many grains."""
    lengths = (paths >= 0).sum(1)
    leaves = paths.gather(1, lengths[:, None] - 1)
    padded = torch.where(paths < 0, leaves, paths)
    if device not in BY_GRAIN:
        return [padded]
    grains = lengths // GRAIN
    alike = [grains == count for count in sorted(set(grains.tolist()))]
    return [padded[some, : lengths[some].max()] for some in alike]


def _gather(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(rows, heads, length, size) to (paths, heads, length, size)."""
    return states.transpose(1, 2).flatten(0, 1)[places].transpose(1, 2)


def _first(groups: list[torch.Tensor], tokens: int) -> torch.Tensor:
    """Of each token where its output is, on one of its paths: on all it is the same."""
    places = torch.cat([group.flatten() for group in groups])
    steps = torch.arange(len(places), device=places.device)
    return steps.new_zeros(tokens).scatter_reduce(0, places, steps, "amin", include_self=False)
