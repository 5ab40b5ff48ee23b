"""Weights in 8-bit floating point, made by a server as it loads the plain ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from greenbench.errors import Unsupported
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.engine_options import require_engine
from greenbench.techniques.technique import EngineOption

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine
    from greenbench.machine.detect import Machine

LEAST = (8, 9)
"""Compute capability that has arithmetic in 8-bit floating point; before it, weights alone are in 8 bits."""


@dataclass(frozen=True)
class Fp8AtLoad(EngineOption):
    """E4M3 weights (arXiv 2209.05433) with a scale each, activations scaled as they come, uncalibrated."""

    name: ClassVar[str] = "fp8_at_load"
    summary: ClassVar[str] = "vLLM makes weights 8-bit floating point as it loads them"
    paper: ClassVar[str | None] = "arXiv:2209.05433"

    def check(self, machine: Machine, engine: Engine) -> None:
        """vLLM has such kernels for GPUs with the arithmetic."""
        super().check(machine, engine)
        if machine.capability is None or machine.capability < LEAST:
            raise Unsupported(
                f"technique={self.name} needs a GPU of compute capability 8.9 or newer, and this run is on "
                f"{machine.device_name}: choose another technique."
            )

    def promise(self) -> Promise:
        """vLLM does not tell what it holds then."""
        return Promise(
            flops_ratio=1.0, kernel="fp8", note="8 bits a weight and an activation in linear layers"
        )

    def options(self, engine: str) -> Mapping[str, object]:
        """As vLLM takes it."""
        require_engine(self.name, engine, "vllm")
        return {"quantization": "fp8"}
