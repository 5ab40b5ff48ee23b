"""Checkpoints whose weights are packed already: what their configuration says of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


def packing(config: Any) -> str | None:
    """How the weights are packed, as ``bitsandbytes, 4 bits, nf4``; null where they are plain.

    `config` is transformers' configuration, or what config.json holds.
    """
    said = _of(config, "quantization_config")
    if said is None and (text := _of(config, "text_config")) is not None:
        said = _of(text, "quantization_config")
    if said is None:
        return None
    values = dict(said) if isinstance(said, Mapping) else said.to_dict()
    named = values.get("quant_method") or "an unknown method"
    method = str(named.value if isinstance(named, Enum) else named)
    bits, kind = _bits(values)
    return ", ".join([method, *([f"{bits} bits"] if bits else []), *([kind] if kind else [])])


def _of(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _bits(values: Mapping[str, Any]) -> tuple[object, str | None]:
    if values.get("load_in_4bit"):
        return 4, str(values.get("bnb_4bit_quant_type", "fp4"))
    if values.get("load_in_8bit"):
        return 8, None
    return values.get("bits") or values.get("w_bit") or values.get("nbits"), None
