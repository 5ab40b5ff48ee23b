"""The key-value cache of a server in 8-bit floating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from greenbench.errors import Unsupported
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.engine_options import require_engine
from greenbench.techniques.technique import EngineOption, Traits

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine
    from greenbench.machine.detect import Machine

LEAST = (8, 9)
"""Compute capability that has arithmetic in 8-bit floating point."""


@dataclass(frozen=True)
class KvFp8(EngineOption):
    """Keys and values as E4M3 (arXiv 2209.05433), without scales: half the bytes, more requests at once."""

    name: ClassVar[str] = "kv_fp8"
    summary: ClassVar[str] = "keys and values in 8-bit floating point, in vLLM"
    paper: ClassVar[str | None] = "arXiv:2209.05433"

    def traits(self) -> Traits:
        """Every request gets its cache."""
        return Traits(chooses_cache=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """vLLM has kernels for GPUs with such arithmetic, and for CPUs with AVX-512."""
        super().check(machine, engine)
        if machine.device == "cpu":
            can = torch.backends.cpu.get_cpu_capability() == "AVX512"
            needs = "a CPU with AVX-512"
        else:
            can = machine.capability is not None and machine.capability >= LEAST
            needs = "a GPU of compute capability 8.9 or newer"
        if not can:
            raise Unsupported(
                f"technique={self.name} needs {needs}, and this run is on {machine.device_name}: leave the "
                "technique out."
            )

    def promise(self) -> Promise:
        """No weight changes."""
        return Promise(
            bytes_ratio=1.0, kernel="fp8", note="weights as they were; 8 bits a number in the cache"
        )

    def options(self, engine: str) -> Mapping[str, object]:
        """As vLLM takes it."""
        require_engine(self.name, engine, "vllm", instead="kv_quanto")
        return {"kv_cache_dtype": "fp8"}
