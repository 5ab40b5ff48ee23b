"""Which experts the routers really chose while the model ran, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from greenbench.models.parts import decoder_blocks, final_norm
from greenbench.techniques.sparse_activation.experts import Mixture, Sizes, mixtures, sizes
from greenbench.techniques.technique import Preparation


class ExpertTally:
    """Counts, in what a technique has observed, the experts of every pass of a model in use.

    A pass of one token a row is one of decoding, counted by its rows; others read text. Where a pass is
    compiled, nothing of it is counted.
    """

    def __init__(self, model: Any, work: Preparation, before: float | None) -> None:
        """`before`: bytes that a pass of the workload's batch read without the technique; null: not known."""
        self._model, self._before = model, before
        self._observed, self._rows = work.observed, work.workload.batch_size
        self._mixtures = mixtures(model)
        self._measured: tuple[list[nn.Module], Sizes] | None = None
        self._shape: tuple[int, int] = (0, 0)
        self._chosen: list[torch.Tensor] = []
        decoder_blocks(model)[0].register_forward_pre_hook(self._begin, with_kwargs=True)
        for mixture in self._mixtures:
            mixture.router.register_forward_hook(self._note)
        final_norm(model).register_forward_hook(self._end)

    def _begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows, length, _width = (args[0] if args else kwargs["hidden_states"]).shape
        self._shape = rows, length
        self._chosen.clear()

    def _note(self, router: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        if not router.training and not torch.compiler.is_compiling():
            self._chosen.append(output[-1])

    def _end(self, *_: Any) -> None:
        if self._chosen:
            self._count(torch.stack(self._chosen))
            self._chosen.clear()

    def _count(self, chosen: torch.Tensor) -> None:
        """Take a pass's choices: (blocks, tokens, top_k)."""
        blocks, tokens, top_k = chosen.shape
        experts = max(mixture.router.num_experts for mixture in self._mixtures)
        hit = torch.zeros(blocks, experts, dtype=torch.bool, device=chosen.device)
        hit.scatter_(1, chosen.flatten(1), value=True)
        rows, length = self._shape
        counts = {"passes": 1, "tokens": tokens}
        counts |= {"experts_chosen": blocks * tokens * top_k, "experts_touched": int(hit.sum())}
        if length > 1:
            _add(self._observed.setdefault("reading", {}), counts)
            return
        by_rows = self._observed.setdefault("decoding", {}).setdefault(str(rows), {})
        _add(by_rows, counts)
        if rows == self._rows:
            self._publish(by_rows, blocks)

    def _publish(self, counts: dict[str, int], blocks: int) -> None:
        """What the counts of decoding with the workload's batch come to, in the mean over blocks."""
        passes, tokens, touched = (counts[name] for name in ("passes", "tokens", "experts_touched"))
        active = self._sizes(blocks).active(touched / passes)
        self._observed.update(
            experts_a_token=counts["experts_chosen"] / tokens / blocks,
            experts_touched_a_pass=touched / passes / blocks,
            experts_touched_a_token=touched / tokens / blocks,
            active_bytes_a_pass=active,
            active_bytes_a_token=active * passes / tokens,
        )
        if self._before is not None:
            self._observed["active_bytes_ratio"] = active / self._before

    def _sizes(self, blocks: int) -> Sizes:
        """The bytes by now: looked at anew where blocks went, or what holds experts was replaced."""
        held = [mixture.experts for mixture in self._mixtures]
        if self._measured is None or held != self._measured[0] or len(held) != blocks:
            self._mixtures = mixtures(self._model)
            held = [mixture.experts for mixture in self._mixtures]
            self._measured = held, sizes(self._model, self._mixtures)
        return self._measured[1]


def _add(total: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        total[name] = total.get(name, 0) + count


def top_ks(found: Sequence[Mixture]) -> int:
    """Experts that a token uses, summed over blocks."""
    return sum(mixture.router.top_k for mixture in found)
