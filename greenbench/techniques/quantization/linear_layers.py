"""What the techniques that pack linear layers share: which layers, whether they fit, what they hold."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from torch import nn

from greenbench.errors import Unsupported, UserError
from greenbench.techniques.shared.linear_views import gates


def linears(model: Any) -> dict[str, nn.Linear]:
    """Every linear layer by name, but for the output head and for gates.

    Quantizing the head costs the most quality and, tied to the embedding, saves no memory (the choice of
    LLM.int8 and QLoRA); a gate chooses experts, and has next to no weights.
    """
    left_out = {id(model.get_output_embeddings()), *gates(model)}
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) not in left_out
    }


def require_multiple(model: Any, size: int, key: str) -> None:
    """Raise UserError, naming `key`, where `size` does not divide the inputs of a linear layer."""
    for name, layer in linears(model).items():
        if layer.in_features % size:
            raise UserError(
                f"{key}={size} does not divide the {layer.in_features} inputs of {name}: "
                f"choose a divisor of {layer.in_features}."
            )


def require_shape(technique: str, model: Any, *, outputs: int, inputs: int) -> None:
    """Raise UserError where a linear layer's inputs or outputs are no multiples of these."""
    for name, layer in linears(model).items():
        if layer.out_features % outputs or layer.in_features % inputs:
            raise UserError(
                f"technique={technique} takes layers with a multiple of {inputs} inputs and {outputs} "
                f"outputs, and {name} has {layer.in_features} and {layer.out_features}: "
                "choose int8_torchao for this model."
            )


def require_package(technique: str, package: str, module: str) -> None:
    """Raise Unsupported where `module`, of `package`, is not installed."""
    parent = module.partition(".")[0]
    if find_spec(parent) is None or find_spec(module) is None:
        raise Unsupported(f"{technique} needs the package {package}: pip install {package}.")


def bytes_ratio(model: Any, packed: Callable[[nn.Linear], float]) -> float:
    """Bytes of the weights with every linear layer's weight in ``packed(layer)`` bytes, to now."""
    total = sum(weight.nbytes for weight in model.parameters())
    saved = sum(layer.weight.nbytes - packed(layer) for layer in linears(model).values())
    return float(1 - saved / total)


def replace_linears(model: Any, convert: Callable[[nn.Linear], nn.Module]) -> int:
    """Replace every layer of `linears` by ``convert(layer)``; return how many."""
    names = list(linears(model))
    for name in names:
        model.set_submodule(name, convert(model.get_submodule(name)))
    return len(names)
