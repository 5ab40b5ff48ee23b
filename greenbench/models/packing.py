"""Checkpoints whose weights are packed: what their configuration says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

METHOD, FORMAT = "compressed-tensors", "pack-quantized"
"""Integers packed into words of 32 bits, as vLLM and transformers read them:
https://github.com/vllm-project/compressed-tensors."""


class Packing(NamedTuple):
    """How weights are packed that are integers on a grid."""

    bits: int
    group: int
    """Inputs that share a scale; 0: all of a row."""
    symmetric: bool
    """Whether a grid's zero is its middle."""

    def __str__(self) -> str:
        groups = f"groups of {self.group}" if self.group else "one group a row"
        return f"{self.bits} bits in {groups}"


def described(packing: Packing, plain: Sequence[str]) -> dict[str, Any]:
    """What config.json says of linear layers that are packed so, all but `plain`.

    transformers is to unpack them as it loads, which it else does when they are first used: of zeros that
    are packed too, compressed-tensors 0.19 and 0.20 make room for the wrong shape in between.
    """
    weights = {
        "num_bits": packing.bits,
        "type": "int",
        "symmetric": packing.symmetric,
        "strategy": "group" if packing.group else "channel",
        "group_size": packing.group or None,
    }
    return {
        "quant_method": METHOD,
        "format": FORMAT,
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": list(plain),
        "dequantize": True,
    }


def grids(config: Any) -> list[Packing]:
    """How a checkpoint in the format of `described` is packed, each way once; empty for any other."""
    said = _said(config) or {}
    if said.get("quant_method") != METHOD or said.get("format") != FORMAT:
        return []
    weights = (group.get("weights") or {} for group in said.get("config_groups", {}).values())
    found = (
        Packing(each["num_bits"], each.get("group_size") or 0, each.get("symmetric", True))
        for each in weights
        if each.get("type", "int") == "int" and "num_bits" in each
    )
    return list(dict.fromkeys(found))


def packing(config: Any) -> str | None:
    """How the weights are packed, as ``bitsandbytes, 4 bits, nf4``; null where they are plain.

    `config` is transformers' configuration, or what config.json holds.
    """
    values = _said(config)
    if values is None:
        return None
    named = values.get("quant_method") or "an unknown method"
    method = str(named.value if isinstance(named, Enum) else named)
    bits, kind = _bits(values)
    return ", ".join([method, *([f"{bits} bits"] if bits else []), *([kind] if kind else [])])


def _said(config: Any) -> dict[str, Any] | None:
    """Its quantization_config; null where it has none."""
    said = _of(config, "quantization_config")
    if said is None and (text := _of(config, "text_config")) is not None:
        said = _of(text, "quantization_config")
    if said is None:
        return None
    return dict(said) if isinstance(said, Mapping) else dict(said.to_dict())


def _of(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _bits(values: Mapping[str, Any]) -> tuple[object, str | None]:
    if values.get("load_in_4bit"):
        return 4, str(values.get("bnb_4bit_quant_type", "fp4"))
    if values.get("load_in_8bit"):
        return 8, None
    if bits := {group.bits for group in grids({"quantization_config": values})}:
        return " and ".join(map(str, sorted(bits))), FORMAT
    return values.get("bits") or values.get("w_bit") or values.get("nbits"), None
