"""Options of this engine, set on a model that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

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
    if implementation == FLASH and model.dtype is torch.float32:
        raise UserError(f"attention={FLASH} has no kernel for float32: say model.dtype=bfloat16.")
    model.set_attn_implementation(implementation)
    if model.config._attn_implementation != implementation:  # it only warns
        raise UserError(
            f"technique=attention cannot change {type(model).__name__}, whose attention is fixed: "
            "leave the technique out."
        )


def _default(generation: Any, name: str, value: object) -> object:
    if not hasattr(generation, name):
        raise UserError(f"engine=transformers has no option {name}: leave out what asks for it.")
    before: object = getattr(generation, name)
    setattr(generation, name, value)
    return before
