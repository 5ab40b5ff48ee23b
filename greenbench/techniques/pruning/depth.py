"""Depth pruning: drop the blocks that change their input least."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Form
from greenbench.errors import UserError
from greenbench.models.parts import decoder_blocks, keep_layers
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.distillation.budget import NONE, Training
from greenbench.techniques.distillation.trainer import distill
from greenbench.techniques.shared.layerwise import require_calibration, token_batches
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits


@dataclass(frozen=True)
class PruneDepth(ModelEdit):
    """Drop the blocks with the least block influence (ShortGPT, arXiv 2403.03853), in one shot.

    What is left may then learn from the whole model (as in Minitron, arXiv 2407.14679).
    """

    name: ClassVar[str] = "prune_depth"
    summary: ClassVar[str] = "drops the transformer blocks with the least block influence"
    form: ClassVar[Form] = "safetensors"
    paper: ClassVar[str | None] = "arXiv:2403.03853"

    fraction: float = 0.1
    """Share of the blocks to drop."""
    passages: int = 32
    """Calibration passages."""
    tokens: int = 256
    """Tokens used of each."""
    heal: Training = NONE
    """How the whole model then trains what is left; without a budget, not at all."""

    def __post_init__(self) -> None:
        require(
            0 < self.fraction < 1,
            "technique.prune_depth.fraction",
            self.fraction,
            "above 0, below 1",
        )
        require_calibration(self.name, self.passages, self.tokens)
        if self.heal != NONE:
            self.heal.check("technique.prune_depth.heal")

    def traits(self) -> Traits:
        """Blocks of any weights can be dropped, but only plain ones be trained."""
        heals = self.heal != NONE
        return Traits(needs_plain_weights=heals, changes_blocks=True, one_gpu=heals, keeps=True)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """At least one block must go, and one stay."""
        self._count(config.get_text_config().num_hidden_layers)

    def after(self, config: Any) -> Any:
        """Fewer blocks; which ones only calibration tells, so kinds of blocks stay in their order."""
        small = copy.deepcopy(config)
        text = small.get_text_config()
        keep_layers(text, range(text.num_hidden_layers - self._count(text.num_hidden_layers)))
        return small

    def promise(self, model: Any) -> Promise:
        """Compute and cache shrink with the blocks, bytes with the blocks' share of the weights."""
        blocks = decoder_blocks(model)
        dropped = self._count(len(blocks))
        in_blocks = sum(weight.nbytes for weight in blocks.parameters())
        total = sum(weight.nbytes for weight in model.parameters())
        share = dropped / len(blocks)
        return Promise(
            bytes_ratio=1 - share * in_blocks / total,
            layers_ratio=1 - share,
            flops_ratio=1 - share,
            note=f"{len(blocks)} to {len(blocks) - dropped} blocks",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Measure every block's influence on calibration text, then drop the least influential."""
        blocks = decoder_blocks(model)
        batches = token_batches(work, self.passages, self.tokens)
        influence = block_influence(model, blocks, batches)
        order = sorted(range(len(blocks)), key=influence.__getitem__)
        dropped = sorted(order[: self._count(len(blocks))])
        kept = [index for index in range(len(blocks)) if index not in dropped]
        teacher = copy.deepcopy(model) if self.heal != NONE else None
        keep_blocks(model, kept)
        work.details.update(dropped_blocks=dropped, block_influence=influence)
        if teacher is not None:
            distill(model, teacher, self.heal, work, kept, "technique.prune_depth.heal")
        return Edited(model)

    def _count(self, depth: int) -> int:
        count = round(self.fraction * depth)
        if not 0 < count < depth:
            raise UserError(
                f"technique.prune_depth.fraction={self.fraction} drops {count} of {depth} blocks: "
                f"choose a fraction between {1 / depth:.3f} and {1 - 1 / depth:.3f}."
            )
        return count


@torch.inference_mode()
def block_influence(
    model: Any, blocks: nn.ModuleList, batches: Sequence[torch.Tensor]
) -> list[float]:
    """Per block, 1 minus the mean cosine of its input and output over all tokens (ShortGPT, eq. 1)."""
    totals, tokens = [0.0] * len(blocks), 0

    def watch(index: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            before = args[0] if args else kwargs["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            cosine = nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)
            totals[index] += float((1 - cosine).sum())

        return hook

    handles = [
        block.register_forward_hook(watch(index), with_kwargs=True)
        for index, block in enumerate(blocks)
    ]
    try:
        for batch in batches:
            model(batch, use_cache=False)
            tokens += batch.numel()
    finally:
        for handle in handles:
            handle.remove()
    return [total / tokens for total in totals]


def keep_blocks(model: Any, kept: Sequence[int]) -> None:
    """Leave only the blocks `kept`, in place, and renumber what the key-value cache counts by."""
    blocks = decoder_blocks(model)
    keep_layers(model.config.get_text_config(), kept)
    survivors = [blocks[index] for index in kept]
    del blocks[:]
    blocks.extend(survivors)
    for index, block in enumerate(survivors):
        for module in block.modules():
            for name in {"layer_idx", "layer_id"} & set(vars(module)):
                setattr(module, name, index)
