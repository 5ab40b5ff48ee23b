"""Which experts the routers really chose while the model ran, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from greenbench.models.parts import decoder_blocks
from greenbench.schema.enums import Stop
from greenbench.techniques.sparse_activation.experts import Mixture, Sizes, mixtures, sizes
from greenbench.techniques.sparse_activation.passes import Watcher, counts
from greenbench.techniques.technique import Preparation

ENDED = "rows are computed on after their answers have ended, which is not counted apart"
"""Why nothing is said of a token where answers of several rows end by themselves."""


class ExpertTally(Watcher):
    """Counts, in what a technique has observed, the experts of every pass of a model in use.

    A pass of one token a row is one of decoding, counted by its rows; others read text. Where a pass is
    compiled, nothing of it is counted.
    """

    def __init__(self, model: Any, work: Preparation, before: float | None) -> None:
        """`before`: bytes that a pass of the workload's batch read without the technique; null: not known."""
        self._model, self._blocks, self._before = model, decoder_blocks(model), before
        self._observed, self._rows = work.observed, work.workload.batch_size
        self._whole = self._rows == 1 or work.workload.stop is Stop.fixed
        self._mixtures = mixtures(model)
        self._measured: tuple[int, list[nn.Module], Sizes] | None = None
        self._shape: tuple[int, int] = (0, 0)
        self._chosen: list[torch.Tensor] = []
        for mixture in self._mixtures:
            mixture.router.register_forward_hook(self._note)
        self.watch(model)

    def begin(self, rows: int, length: int) -> None:
        """Nothing is chosen yet."""
        self._shape = rows, length
        self._chosen.clear()

    def _note(self, router: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        if counts(router):
            self._chosen.append(output[-1])

    def end(self) -> None:
        """Count what was chosen."""
        if self._chosen:
            self._count(self._chosen)
            self._chosen.clear()

    def _count(self, chosen: list[torch.Tensor]) -> None:
        """Take a pass's choices: of each block that it came to, (tokens, top_k)."""
        rows, length = self._shape
        found = {
            "passes": 1,
            "tokens": rows * length,
            "block_passes": len(chosen),
            "block_tokens": sum(map(len, chosen)),
            "experts_chosen": sum(each.numel() for each in chosen),
            "experts_touched": self._touched(chosen),
        }
        found["experts_read"] = found["experts_chosen" if self._batched() else "experts_touched"]
        if length > 1:
            _add(self._observed.setdefault("reading", {}), found)
            return
        by_rows = self._observed.setdefault("decoding", {}).setdefault(str(rows), {})
        _add(by_rows, found)
        if rows == self._rows:
            self._publish(by_rows)

    def _touched(self, chosen: list[torch.Tensor]) -> int:
        """Experts that any token of a block uses, summed over blocks."""
        if len({each.shape for each in chosen}) > 1:  # tokens have left on the way
            return sum(int(each.flatten().bincount().count_nonzero()) for each in chosen)
        places = torch.stack(chosen).flatten(1)
        experts = max(mixture.router.num_experts for mixture in self._mixtures)
        hit = torch.zeros(len(chosen), experts, dtype=torch.bool, device=places.device)
        return int(hit.scatter_(1, places, value=True).sum())

    def _batched(self) -> bool:
        """Whether each token has its own experts read, as transformers decodes on GPUs."""
        config = getattr(self._mixtures[0].experts, "config", None)
        return getattr(config, "_experts_implementation", None) == "batched_mm"

    def _publish(self, seen: dict[str, int]) -> None:
        """What the counts of decoding with the workload's batch come to, in the mean over blocks."""
        tokens, touched = seen["block_tokens"], seen["experts_touched"]
        active = self._sizes().active(seen["experts_read"] / seen["passes"])
        self._observed.update(
            experts_read_a_pass=seen["experts_read"] / seen["block_passes"],
            experts_touched_a_pass=touched / seen["block_passes"],
            active_bytes_a_pass=active,
        )
        a_token: dict[str, float | None] = {
            "experts_a_token": seen["experts_chosen"] / tokens,
            "experts_touched_a_token": touched / tokens,
            "active_bytes_a_token": active * seen["passes"] / seen["tokens"],
        }
        if not self._whole:
            a_token = dict.fromkeys(a_token)
            self._observed["not_a_token"] = ENDED
        self._observed.update(a_token)
        if self._before is not None:
            self._observed["active_bytes_ratio"] = active / self._before

    def _sizes(self) -> Sizes:
        """The bytes by now: looked at anew where blocks went, or what holds experts was replaced."""
        held = [mixture.experts for mixture in self._mixtures]
        known = self._measured
        if known is None or (len(self._blocks), held) != known[:2]:
            self._mixtures = mixtures(self._model)
            held = [mixture.experts for mixture in self._mixtures]
            self._measured = known = len(self._blocks), held, sizes(self._model, self._mixtures)
        return known[2]


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count


def top_ks(found: Sequence[Mixture]) -> int:
    """Experts that a token uses, summed over blocks."""
    return sum(mixture.router.top_k for mixture in found)
