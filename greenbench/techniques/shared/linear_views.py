"""Every weight matrix of the blocks as a plain ``torch.nn.Linear``, whatever module holds it.

    with as_linears(model):
        for layer in linear_layers(block).values():
            layer.weight.data.mul_(mask)

A stand-in shares the memory of what it stands for, so that what is written into its weight is written
into the model. At the end each module takes its place again, but where its stand-in was replaced or
given another weight.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from greenbench.errors import Unsupported
from greenbench.models.parts import blueprint, decoder_blocks, weight_count

TOLERANCE = 1e-2
"""Relative, between a module and its stand-in on a row of random numbers: it tells kinds apart, not bits."""


class Placed(NamedTuple):
    """A stand-in, and where it stands for what."""

    parent: nn.Module
    name: str
    module: nn.Module
    stand_in: nn.Module


@contextmanager
def as_linears(model: Any) -> Iterator[None]:
    """Let all modules of the blocks that multiply by matrices be linear layers meanwhile."""
    placed = _place_all(model)
    try:
        yield
    finally:
        for parent, name, module, stand_in in placed:
            if getattr(parent, name) is stand_in and _still_shares(stand_in, module):
                setattr(parent, name, module)


def linear_blueprint(config: Any) -> Any:
    """The model that `config` describes, without weights, as `as_linears` shows it."""
    model = blueprint(config)
    _place_all(model)
    return model


def other_kinds(config: Any) -> list[str]:
    """Classes of the modules of the model's blocks that multiply by matrices and are no linear layers."""
    return sorted({type(placed.module).__name__ for placed in _place_all(blueprint(config))})


def shapes(config: Any) -> set[tuple[int, int]]:
    """(outputs, inputs) of the linear layers of the model's blocks."""
    layers = block_linears(linear_blueprint(config))
    return {(layer.out_features, layer.in_features) for layer in layers}


def gates(model: nn.Module) -> set[int]:
    """The ids of the linear layers beside experts that choose among them, or whether to use them."""
    found = set()
    for parent in model.modules():
        children = list(parent.children())
        most = max(
            (len(child.inputs) for child in children if isinstance(child, Experts)), default=0
        )
        small = (c for c in children if isinstance(c, nn.Linear) and c.out_features <= most)
        found |= {id(child) for child in small}
    return found


def linear_layers(block: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers inside `block` but gates, by name, in the order in which they were defined."""
    left_out = gates(block)
    return {
        name: module
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear) and id(module) not in left_out
    }


def block_linears(model: Any) -> list[nn.Linear]:
    """The linear layers inside all blocks of `model`. Raises Unsupported where it has none."""
    found = [layer for block in decoder_blocks(model) for layer in linear_layers(block).values()]
    if not found:
        raise Unsupported(
            f"{type(model).__name__} has no linear layer in its blocks: techniques that change "
            "weights do not know this architecture."
        )
    return found


def reach(model: Any) -> float:
    """The share of the blocks' weights that lie in linear layers."""
    held = sum(layer.in_features * layer.out_features for layer in block_linears(model))
    return held / weight_count(decoder_blocks(model))


def _place_all(model: Any) -> list[Placed]:
    placed = []
    for block in decoder_blocks(model):
        for parent in list(block.modules()):
            for name, module in list(parent.named_children()):
                stand_in = _stand_in(module)
                if stand_in is not None:
                    setattr(parent, name, stand_in)
                    placed.append(Placed(parent, name, module, stand_in))
    return placed


def _stand_in(module: nn.Module) -> nn.Module | None:
    """What stands for `module`; null where it is a linear layer, or multiplies by no matrix."""
    if type(module) is nn.Linear:
        return None
    if Experts.can_hold(module):
        return Experts(module)
    return _linear(module)


def _linear(module: nn.Module) -> nn.Linear | None:
    """`module` as a linear layer, if that is what it computes: by its own weights, one way or the other."""
    own = dict(module.named_parameters())
    weight = own.pop("weight", None)
    bias = own.pop("bias", None)
    if weight is None or weight.ndim != 2 or own or not weight.is_floating_point():
        return None
    if type(weight.data) is not torch.Tensor or isinstance(module, nn.Embedding):
        return None
    for matrix in (weight, weight.T):
        layer = linear_of(matrix, bias)
        if _alike(module, layer):
            return layer
    return None


def linear_of(matrix: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """A linear layer on the memory of `matrix` (out, in)."""
    outputs, inputs = matrix.shape
    with torch.device("meta"):
        layer = nn.Linear(inputs, outputs, bias=bias is not None)
    layer.weight = nn.Parameter(matrix.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer.eval()


@torch.no_grad()
def _alike(module: nn.Module, layer: nn.Linear) -> bool:
    """Whether both give the same on a row of random numbers; without weights, the same shape."""
    weight = layer.weight
    row = torch.linspace(-1, 1, layer.in_features, dtype=weight.dtype, device=weight.device)[None]
    try:
        given = module(row)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False
    if not isinstance(given, torch.Tensor) or given.shape != (1, layer.out_features):
        return False
    if weight.is_meta:
        return True
    wanted = layer(row).float()
    return bool((given.float() - wanted).norm() <= TOLERANCE * wanted.norm() + 1e-12)


class Experts(nn.Module):
    """Experts of one layer as linear layers each, run one after the other as transformers' own loop does.

    It stands for what transformers' interface for experts holds as two stacks of matrices.
    """

    def __init__(self, stacks: Any) -> None:
        super().__init__()
        first = "gate_up_proj" if stacks.has_gate else "up_proj"
        self.inputs = _layers(stacks, first)
        self.outputs = _layers(stacks, "down_proj")
        shell = copy.copy(stacks)  # what it knows but its weights, which may go
        vars(shell)["_parameters"] = {}
        self._gated: Callable[[torch.Tensor], torch.Tensor] = (
            shell._apply_gate if shell.has_gate else shell.act_fn
        )

    @staticmethod
    def can_hold(module: nn.Module) -> bool:
        """Whether `module` follows transformers' interface for experts."""
        names = ("gate_up_proj" if getattr(module, "has_gate", False) else "up_proj", "down_proj")
        stacks = [getattr(module, name, None) for name in names]
        plain = all(type(getattr(stack, "data", None)) is torch.Tensor for stack in stacks)
        known = hasattr(module, "is_transposed") and not getattr(
            module, "has_post_expert_norm", False
        )
        return known and plain and all(stack.ndim == 3 for stack in stacks if stack is not None)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Shapes (tokens, width), (tokens, k), (tokens, k) to (tokens, width)."""
        total = torch.zeros_like(hidden_states)
        for expert in sorted(set(top_k_index.flatten().tolist())):
            if expert >= len(self.inputs):  # as transformers marks tokens of other processes
                continue
            rows, places = torch.where(top_k_index == expert)
            weighted = self.one(expert, hidden_states[rows]) * top_k_weights[rows, places, None]
            total.index_add_(0, rows, weighted.to(total.dtype))
        return total

    def one(self, expert: int, hidden_states: torch.Tensor) -> torch.Tensor:
        """What one expert gives for each token, not weighted: (tokens, width) to (tokens, width)."""
        given: torch.Tensor = self.outputs[expert](self._gated(self.inputs[expert](hidden_states)))
        return given


def _layers(stacks: Any, name: str) -> nn.ModuleList:
    matrices = getattr(stacks, name)
    biases = getattr(stacks, f"{name}_bias", None)
    return nn.ModuleList(
        linear_of(
            matrix.T if stacks.is_transposed else matrix, None if biases is None else biases[i]
        )
        for i, matrix in enumerate(matrices)
    )


def _still_shares(stand_in: nn.Module, module: nn.Module) -> bool:
    """Whether all in `stand_in` is still what `module` holds."""
    held = {_place(weight) for weight in module.parameters()}
    plain = all(type(m) is nn.Linear for m in stand_in.modules() if not list(m.children()))
    return plain and all(_place(weight) in held for weight in stand_in.parameters())


def _place(weight: torch.Tensor) -> object:
    """What tells apart the memory that `weight` lies in; without weights, nothing."""
    plain = type(weight.data) is torch.Tensor and not weight.is_meta
    return weight.untyped_storage().data_ptr() if plain else type(weight.data)
