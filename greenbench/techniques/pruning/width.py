"""Width pruning: drop the MLP neurons and attention heads that are least active."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Form
from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import blueprint, decoder_blocks
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.distillation.budget import NONE, Training
from greenbench.techniques.distillation.trainer import distill
from greenbench.techniques.shared.layerwise import (
    MeanAbsolute,
    require_calibration,
    token_batches,
    visits,
)
from greenbench.techniques.shared.linear_views import linear_layers
from greenbench.techniques.shared.shapes import Heads, heads, smaller
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

KEY = "technique.prune_width"
MULTIPLE = 64  # of neurons that are kept: the tiles of matrix kernels, the groups of quantization
FINE = 8  # where 64 would be over a sixteenth of the neurons


@dataclass(frozen=True)
class PruneWidth(ModelEdit):
    """Drop the least active MLP neurons and attention heads of every block (Minitron, arXiv
    2407.14679); the same number in each, so that an ordinary smaller model remains.

    A neuron's activity is its mean magnitude where the MLP's last projection reads it, a head's is
    the sum over its features where the attention's output projection reads them.
    """

    name: ClassVar[str] = "prune_width"
    summary: ClassVar[str] = "drops the MLP neurons and attention heads that are least active"
    form: ClassVar[Form] = "safetensors"
    paper: ClassVar[str | None] = "arXiv:2407.14679"

    mlp_fraction: float = 0.2
    """Share of the MLP neurons to drop."""
    heads_fraction: float = 0.0
    """Share of the attention heads to drop."""
    unit: str = "groups"
    """Heads go with their key-value head, in whole groups, or only queries, as many in each group."""
    passages: int = 32
    """Calibration passages."""
    tokens: int = 256
    """Tokens used of each."""
    heal: Training = NONE
    """How the whole model then trains what is left; without a budget, not at all."""

    def __post_init__(self) -> None:
        for name in ("mlp_fraction", "heads_fraction"):
            share = getattr(self, name)
            require(0 <= share < 1, f"{KEY}.{name}", share, "0 or more, below 1")
        if self.mlp_fraction == self.heads_fraction == 0:
            raise UserError(f"{KEY} drops nothing: set {KEY}.mlp_fraction or {KEY}.heads_fraction.")
        require_choice(self.unit, f"{KEY}.unit", ("groups", "queries"))
        require_calibration(self.name, self.passages, self.tokens)
        if self.heal != NONE:
            self.heal.check(f"{KEY}.heal")

    def traits(self) -> Traits:
        """Plain weights lose rows and columns, in every block; what is trained then is in one place."""
        heals = self.heal != NONE
        return Traits(needs_plain_weights=True, changes_blocks=True, one_gpu=heals, keeps=True)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The model has gated MLPs and separate projections, and of all that goes some stays."""
        _require_known(blueprint(config))
        self._smaller_config(config)

    def after(self, config: Any) -> Any:
        """Fewer neurons and heads."""
        return self._smaller_config(config)

    def promise(self, model: Any) -> Promise:
        """Bytes and compute of a model of the smaller configuration."""
        config = self._smaller_config(model.config)
        before, after = model.config.get_text_config(), config.get_text_config()
        return smaller(
            model,
            config,
            f"{before.intermediate_size} to {after.intermediate_size} neurons, "
            f"{before.num_attention_heads} to {after.num_attention_heads} heads a block",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Measure all activity on calibration text, then drop what is least active, block by block."""
        _require_known(model)
        teacher = copy.deepcopy(model) if self.heal != NONE else None
        config = self._smaller_config(model.config)
        batches = token_batches(work, self.passages, self.tokens)
        before, after = model.config.get_text_config(), config.get_text_config()
        for visit in visits(model, batches, MeanAbsolute, changing=False):
            seen = {name.rpartition(".")[2]: found.value for name, found in visit.seen.items()}
            _narrow_mlp(visit.block, seen["down_proj"], after.intermediate_size)
            _narrow_attention(visit.block, seen["o_proj"], heads(before), heads(after))
        _set_sizes(model, after)
        work.details.update(
            intermediate_size=after.intermediate_size,
            num_attention_heads=after.num_attention_heads,
            num_key_value_heads=heads(after).groups,
        )
        if teacher is not None:
            blocks = range(before.num_hidden_layers)
            distill(model, teacher, self.heal, work, blocks, f"{KEY}.heal")
        return Edited(model)

    def _smaller_config(self, config: Any) -> Any:
        small = copy.deepcopy(config)
        text = small.get_text_config()
        groups, queries, size = heads(text)
        if self.unit == "groups":
            groups = _kept("heads_fraction", self.heads_fraction, groups, "groups of heads")
        else:
            queries = _kept("heads_fraction", self.heads_fraction, queries, "heads in a group")
        text.num_attention_heads = groups * queries
        text.num_key_value_heads = groups
        if self.heads_fraction:  # else it would be taken to be the hidden size by the heads left
            text.head_dim = size
        neurons = text.intermediate_size
        multiple = MULTIPLE if neurons >= 16 * MULTIPLE else FINE
        text.intermediate_size = _kept(
            "mlp_fraction", self.mlp_fraction, neurons, "neurons", multiple
        )
        return small


def _kept(knob: str, fraction: float, whole: int, what: str, multiple: int = 1) -> int:
    """What stays of `whole`, rounded to a multiple; all of it only where none is to go."""
    kept = round((1 - fraction) * whole / multiple) * multiple if fraction else whole
    if kept == 0 or (kept >= whole and fraction):
        raise UserError(
            f"{KEY}.{knob}={fraction} leaves {kept} of {whole} {what}, which go by {multiple}: choose a "
            "share that drops some and leaves some."
        )
    return kept


def _require_known(model: Any) -> None:
    """Each block has the seven projections once, of the shapes the configuration tells, and no other
    weights that know of neurons or heads."""
    text = model.config.get_text_config()
    if not hasattr(text, "intermediate_size"):
        raise _unknown(model)
    groups, queries, size = heads(text)
    rows = {
        "q_proj": groups * queries * size,
        "k_proj": groups * size,
        "v_proj": groups * size,
        "o_proj": text.hidden_size,
        "gate_proj": text.intermediate_size,
        "up_proj": text.intermediate_size,
        "down_proj": text.hidden_size,
    }
    for block in decoder_blocks(model):
        found = [
            (name.rpartition(".")[2], m.out_features)
            for name, m in block.named_modules()
            if isinstance(m, nn.Linear)
        ]
        apart = [m for m in block.modules() if not isinstance(m, nn.Linear)]
        others = {w.numel() for m in apart for w in m.parameters(recurse=False)}
        if sorted(found) != sorted(rows.items()) or others - {text.hidden_size, size}:
            raise _unknown(model)


def _unknown(model: Any) -> Unsupported:
    return Unsupported(
        f"technique=prune_width knows blocks with a gated MLP and separate query, key and value projections, "
        f"which those of {type(model).__name__} are not: use technique=prune_depth."
    )


def _narrow_mlp(block: nn.Module, activity: torch.Tensor, count: int) -> None:
    kept = _most(activity, count)
    linears = _linears(block)
    _keep_outputs(linears["gate_proj"], kept)
    _keep_outputs(linears["up_proj"], kept)
    _keep_inputs(linears["down_proj"], kept)


def _narrow_attention(
    block: nn.Module, activity: torch.Tensor, before: Heads, after: Heads
) -> None:
    """Keep the most active groups, and in each its most active queries."""
    by_head = activity.view(before).sum(-1)
    groups = _most(by_head.sum(-1), after.groups)
    queries = torch.stack([_most(row, after.queries) for row in by_head[groups]])
    whole = (before.queries * groups[:, None] + queries).flatten()
    linears = _linears(block)
    _keep_outputs(linears["q_proj"], _features(whole, before.size))
    _keep_outputs(linears["k_proj"], _features(groups, before.size))
    _keep_outputs(linears["v_proj"], _features(groups, before.size))
    _keep_inputs(linears["o_proj"], _features(whole, before.size))


def _most(activity: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` largest, in order."""
    return activity.topk(count).indices.sort().values


def _features(head: torch.Tensor, size: int) -> torch.Tensor:
    return (head[:, None] * size + torch.arange(size, device=head.device)).flatten()


def _linears(block: nn.Module) -> dict[str, nn.Linear]:
    return {name.rpartition(".")[2]: layer for name, layer in linear_layers(block).items()}


def _keep_outputs(layer: nn.Linear, kept: torch.Tensor) -> None:
    layer.weight.data = layer.weight.data[kept].clone()
    if layer.bias is not None:
        layer.bias.data = layer.bias.data[kept].clone()
    layer.out_features = len(kept)


def _keep_inputs(layer: nn.Linear, kept: torch.Tensor) -> None:
    layer.weight.data = layer.weight.data[:, kept].clone()
    layer.in_features = len(kept)


def _set_sizes(model: Any, after: Any) -> None:
    """Write the new sizes wherever the model keeps them."""
    groups, queries, size = heads(after)
    sizes = {
        "intermediate_size": after.intermediate_size,
        "num_attention_heads": groups * queries,
        "num_heads": groups * queries,
        "num_key_value_heads": groups,
        "num_key_value_groups": queries,
    }
    text = model.config.get_text_config()
    if after.num_attention_heads != text.num_attention_heads:
        text.head_dim, text.num_key_value_heads = size, groups
    for holder in (text, *decoder_blocks(model).modules()):
        for name, value in sizes.items():
            if hasattr(holder, name):
                setattr(holder, name, value)
