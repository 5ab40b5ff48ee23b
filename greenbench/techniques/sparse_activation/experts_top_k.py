"""How many experts a token uses: fewer of them read fewer weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from greenbench.engines.engine import Engine, Form
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.models.parts import blueprint, decoder_blocks, weight_count
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.sparse_activation.expert_tally import ExpertTally, top_ks
from greenbench.techniques.sparse_activation.experts import (
    Mixture,
    require_mixtures,
    require_sparse,
    sizes,
)
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits


@dataclass(frozen=True)
class ExpertsTopK(ModelEdit):
    """Sets the router's top-k (Shazeer et al., arXiv 1701.06538) without any training.

    With the model's own number nothing changes but that its experts are counted.
    """

    name: ClassVar[str] = "experts_top_k"
    summary: ClassVar[str] = "sets how many experts a token uses"
    form: ClassVar[Form] = "safetensors"
    paper: ClassVar[str | None] = "arXiv:1701.06538"
    told: ClassVar[frozenset[str]] = frozenset({"n"})

    n: int = 1
    """Experts a token, in every block that has some."""

    def __post_init__(self) -> None:
        require(self.n >= 1, "technique.experts_top_k.n", self.n, "1 or more")

    def traits(self) -> Traits:
        """It counts what the routers of these blocks choose."""
        return Traits(holds_blocks=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """The engine must leave out what is not chosen."""
        require_sparse(engine, self.name)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The model has routers, and as many experts."""
        self._mixtures(blueprint(config))

    def promise(self, model: Any) -> Promise:
        """Fewer experts are multiplied with and read, and all are held."""
        found = self._mixtures(model)
        before, after = top_ks(found), self.n * len(found)
        one = sum(weight_count(mixture.experts) for mixture in found)
        one //= sum(mixture.router.num_experts for mixture in found)
        rest = weight_count(decoder_blocks(model))
        rest -= one * sum(mixture.router.num_experts for mixture in found)
        held = sizes(model, found)
        each = found[0].router
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=(rest + after * one) / (rest + before * one),
            active_bytes_ratio=held.active(after) / held.active(before),
            note=f"{self.n} of {each.num_experts} experts a token, before {each.top_k}",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """Never: with the model's own number it counts."""
        return False

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Set the number wherever the model keeps it, and count from now on."""
        found = self._mixtures(model)
        before = top_ks(found)
        own = sizes(model, found).active(before)
        work.details.update(
            experts=found[0].router.num_experts, blocks=len(found), top_k_before=before / len(found)
        )
        for mixture in found:
            for holder in mixture:
                if hasattr(holder, "top_k"):
                    holder.top_k = self.n
        for holder in (model, model.config.get_text_config()):
            if hasattr(holder, "num_experts_per_tok"):
                holder.num_experts_per_tok = self.n

        alone = work.workload.batch_size == 1  # else how many several rows touched is not known
        ExpertTally(model, work, own if alone else None)
        return Edited(model)

    def _mixtures(self, model: Any) -> list[Mixture]:
        found = require_mixtures(model, self.name)
        most = min(mixture.reachable for mixture in found)
        if self.n > most:
            raise UserError(
                f"technique.experts_top_k.n={self.n} is more than the {most} experts that a token of this "
                f"model may use: choose 1 to {most}."
            )
        return found
