"""Expert pruning: drop the experts that add least to what their block says."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models.parts import blueprint
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.layerwise import require_calibration, token_batches
from greenbench.techniques.shared.linear_views import Experts
from greenbench.techniques.sparse_activation.expert_tally import ExpertTally, top_ks
from greenbench.techniques.sparse_activation.experts import (
    Mixture,
    require_mixtures,
    require_sparse,
    sizes,
)
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

KEY = "technique.prune_experts"
COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""What configurations and modules call the number of experts."""


@dataclass(frozen=True)
class PruneExperts(ModelEdit):
    """Drop the experts with the least router-weighted activation (REAP, arXiv 2510.13999), in one shot.

    As many in each block. The router chooses among those left, as many a token as before.
    """

    name: ClassVar[str] = "prune_experts"
    summary: ClassVar[str] = "drops the experts with the least router-weighted activation"
    form: ClassVar[Form] = "safetensors"
    paper: ClassVar[str | None] = "arXiv:2510.13999"

    fraction: float = 0.25
    """Share of the experts to drop."""
    passages: int = 32
    """Calibration passages."""
    tokens: int = 256
    """Tokens used of each."""

    def __post_init__(self) -> None:
        require(0 < self.fraction < 1, f"{KEY}.fraction", self.fraction, "above 0, below 1")
        require_calibration(self.name, self.passages, self.tokens)

    def traits(self) -> Traits:
        """Plain weights go, in every block; what counts the experts is in no file."""
        return Traits(needs_plain_weights=True, changes_blocks=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """The engine must leave out what is not chosen."""
        require_sparse(engine, self.name)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Some experts must go, and as many stay as a token uses."""
        self._mixtures(blueprint(config))

    def after(self, config: Any) -> Any:
        """Fewer experts."""
        small = copy.deepcopy(config)
        (found, *_) = self._mixtures(blueprint(config))
        _set_counts([small.get_text_config()], self._kept(found))
        return small

    def promise(self, model: Any) -> Promise:
        """Fewer bytes are held; a token uses as many experts as before."""
        found = self._mixtures(model)
        kept, count = self._kept(found[0]), found[0].router.num_experts
        held = sum(weight.nbytes for mixture in found for weight in mixture.experts.parameters())
        total = sum(weight.nbytes for weight in model.parameters())
        return Promise(
            bytes_ratio=1 - (1 - kept / count) * held / total,
            flops_ratio=1.0,
            active_bytes_ratio=1.0,
            note=f"{count} to {kept} experts a block, of which a token uses {found[0].router.top_k}",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Measure what every expert adds on calibration text, drop those that add least, count the others."""
        found = self._mixtures(model)
        kept, count = self._kept(found[0]), found[0].router.num_experts
        own = sizes(model, found).active(top_ks(found))
        scores = self._scores(model, found, work)
        order = scores.argsort(dim=-1, stable=True)
        for mixture, places in zip(found, order[:, count - kept :], strict=True):
            _keep(mixture, places.sort().values)
        _set_counts([model, model.config.get_text_config()], kept)
        dropped = order[:, : count - kept].sort(dim=-1).values
        work.details.update(dropped_experts=dropped.tolist(), expert_saliency=scores.tolist())
        alone = work.workload.batch_size == 1  # else how many several rows touched is not known
        ExpertTally(model, work, own if alone else None)
        return Edited(model)

    def _scores(self, model: Any, found: Sequence[Mixture], work: Preparation) -> torch.Tensor:
        """`saliency`, computed once where the model is made anew for each turn."""
        file = work.workspace and work.workspace / f"saliency-{os.getpid()}.pt"
        if file and file.exists():
            known: torch.Tensor = torch.load(file)
            return known
        scores = saliency(model, found, token_batches(work, self.passages, self.tokens))
        if file and work.again:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(scores, file)
        return scores

    def _mixtures(self, model: Any) -> list[Mixture]:
        """Those of `model`, if experts can go."""
        found = require_mixtures(model, self.name)
        if not all(Experts.can_hold(mixture.experts) for mixture in found):
            raise Unsupported(
                f"technique=prune_experts does not know how {type(found[0].experts).__name__} holds its "
                "experts: leave it out."
            )
        if any(mixture.reachable < mixture.router.num_experts for mixture in found):
            raise Unsupported(
                "technique=prune_experts would leave groups of experts of unlike size, among which this "
                "model's routers cannot choose: leave it out."
            )
        self._kept(found[0])
        return found

    def _kept(self, mixture: Mixture) -> int:
        count, used = mixture.router.num_experts, mixture.router.top_k
        kept: int = count - round(self.fraction * count)
        if not used <= kept < count:
            raise UserError(
                f"{KEY}.fraction={self.fraction} leaves {kept} of {count} experts, of which a token uses "
                f"{used}: choose a share that drops 1 to {count - used}."
            )
        return kept


@torch.no_grad()
def saliency(model: Any, found: Sequence[Mixture], batches: Sequence[torch.Tensor]) -> torch.Tensor:
    """Per block and expert, the mean over the tokens that chose it of the router's weight times the norm
    of what it gives (REAP, eq. 9); 0 where none did. Shape (blocks, experts), float64, on the CPU."""
    count = found[0].router.num_experts
    totals, tokens = (torch.zeros(len(found), count, dtype=torch.float64) for _ in range(2))

    def watch(block: int, experts: Experts) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            hidden, index, weights = args
            for expert in range(count):
                rows, places = torch.where(index == expert)
                norms = experts.one(expert, hidden[rows]).float().norm(dim=-1)
                totals[block, expert] += float((weights[rows, places].float() * norms).sum())
                tokens[block, expert] += len(rows)

        return note

    with ExitStack() as stack:
        for block, mixture in enumerate(found):
            note = watch(block, Experts(mixture.experts))
            stack.callback(mixture.experts.register_forward_pre_hook(note).remove)
        for batch in batches:
            model(batch, use_cache=False)
    return totals / tokens.clamp(min=1)


def _keep(mixture: Mixture, places: torch.Tensor) -> None:
    """Leave only these experts, in place, in all that has one entry each."""
    count = mixture.router.num_experts
    for module in (mixture.experts, mixture.router):
        places = places.to(next(module.parameters()).device)
        for weight in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if len(weight) == count:
                weight.data = weight.data[places].clone()
    _set_counts([mixture.parent, mixture.router, mixture.experts], len(places))


def _set_counts(holders: Sequence[Any], kept: int) -> None:
    for holder in holders:
        for name in COUNTS:
            if hasattr(holder, name):
                setattr(holder, name, kept)
