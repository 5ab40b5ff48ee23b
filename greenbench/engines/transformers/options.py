"""Options of this engine, set on a model that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from greenbench.engines.transformers import hub_kernels
from greenbench.engines.transformers.load import said
from greenbench.errors import UserError

FLASH = "flash_attention_2"
STATIC_CACHE = {"cache_implementation": "static", "disable_compile": True}
"""Keys and values in tensors of fixed length, without the compilation that ``generate`` adds on CUDA."""


def apply_options(model: Any, options: Mapping[str, object]) -> dict[str, object]:
    """Set `options` on `model` and return what was there before; setting them again changes nothing.

    ``attn_implementation`` is set in every layer, all others are defaults of ``generate``. Raises
    UserError, in one sentence, where the model cannot have them.
    """
    before: dict[str, object] = {}
    for name, value in options.items():
        if name == "attn_implementation":
            before[name] = model.config._attn_implementation
            _switch_attention(model, str(value))
        else:
            before[name] = _default(model.generation_config, name, value)
    return before


def _switch_attention(model: Any, implementation: str) -> None:
    kernel, kind = hub_kernels.is_kernel(implementation), type(model).__name__
    if (implementation == FLASH or kernel) and model.dtype is torch.float32:
        raise UserError(
            f"attention={implementation} has no kernel for float32: say model.dtype=bfloat16."
        )
    name, before = implementation, model.config._attn_implementation
    if kernel:
        name = hub_kernels.use(implementation)
    try:
        model.set_attn_implementation(name)
    except Exception as error:  # whatever a kernel's own code says as it is loaded
        if not kernel:
            raise
        raise UserError(
            f"attention={implementation} cannot be loaded ({said(error)}): choose "
            "technique.attention.implementation=sdpa."
        ) from error
    has = model.config._attn_implementation  # it only warns of another than was asked for
    if has == before != name:
        raise UserError(
            f"technique=attention cannot change {kind}, whose attention is fixed: leave the technique out."
        )
    if has != name:
        raise UserError(
            f"attention={implementation} is not for {kind}, which transformers would run with {has}: choose "
            f"technique.attention.implementation=sdpa, or that."
        )
    if kernel:
        hub_kernels.require_loaded(implementation)


def _default(generation: Any, name: str, value: object) -> object:
    if not hasattr(generation, name):
        raise UserError(f"engine=transformers has no option {name}: leave out what asks for it.")
    before: object = getattr(generation, name)
    setattr(generation, name, value)
    return before
