"""Adapters beside weights that are packed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from greenbench.schema.technique import Promise
from greenbench.techniques.quantization.bitsandbytes import Int4
from greenbench.techniques.technique import Preparation
from greenbench.techniques.training.adapters import Lora


@dataclass(frozen=True)
class Qlora(Lora):
    """The same beside weights that bitsandbytes keeps in 4 bits (NF4)."""

    name: ClassVar[str] = "qlora"
    summary: ClassVar[str] = "QLoRA: adapters beside weights in 4 bits"
    paper: ClassVar[str | None] = "arXiv:2305.14314"
    packages: ClassVar[tuple[str, ...]] = ("peft", "bitsandbytes")

    rank: int = 16
    """Of each adapter."""
    alpha: int = 32
    """What an adapter adds is scaled by this over its rank."""
    rate: float = 10.0
    """Learning rates are tried times this."""

    def promise(self) -> Promise:
        """Memory: the weights are unpacked for each product."""
        return Promise(note="the same, and three quarters or more of the weights' bytes")

    def adapted(self, model: Any) -> Any:
        """`model`, packed, with adapters."""
        work = Preparation(model.device, None, tuple)
        packed = Int4().edit(model, work).model
        packed.is_loaded_in_4bit = True  # what PEFT asks for before it knows its layers
        packed.enable_input_require_grads()  # else its kernels take the way without a gradient
        for layer in packed.modules():
            if hasattr(
                layer, "support_avx512bf16_for_cpu"
            ):  # packs at an evaluation for good, and then
                layer.support_avx512bf16_for_cpu = False  # multiplies without a gradient
        return super().adapted(packed)
