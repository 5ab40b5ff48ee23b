"""How the same weights are run: attention's implementation, a static cache, threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import psutil
import torch

from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.spec import require, require_choice
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Preparation, Technique

FLASH = "flash_attention_2"


@dataclass(frozen=True)
class Attention(Technique):
    """Another implementation of attention: the same sums, rounded otherwise."""

    name: ClassVar[str] = "attention"
    summary: ClassVar[str] = "another implementation of attention"
    paper: ClassVar[str | None] = "arXiv:2307.08691"

    implementation: str = "eager"
    """eager, sdpa (torch's fused one, which transformers takes by itself) or flash_attention_2."""

    def __post_init__(self) -> None:
        key = "technique.attention.implementation"
        require_choice(self.implementation, key, ("eager", "sdpa", FLASH))

    def check(self, machine: Machine) -> None:
        """Flash attention is a package with CUDA kernels for compute capability 8.0 and newer."""
        if self.implementation != FLASH:
            return
        if machine.capability is None or machine.capability < (8, 0):
            raise Unsupported(
                f"attention={FLASH} needs a CUDA GPU of compute capability 8.0 or newer, and this "
                f"run is on {machine.device_name}: choose technique.attention.implementation=sdpa."
            )
        if find_spec("flash_attn") is None:
            raise Unsupported(
                f"attention={FLASH} needs the package flash-attn: pip install flash-attn, "
                "or choose technique.attention.implementation=sdpa."
            )

    def promise(self, model: Any) -> Promise:
        """No weight and no multiplication less."""
        if self.implementation == FLASH and model.dtype is torch.float32:
            raise UserError(
                f"attention={FLASH} has no kernel for float32: say model.dtype=bfloat16."
            )
        before = model.config._attn_implementation
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1.0,
            note=f"{before} to {self.implementation} attention, weights as they were",
        )

    def apply(self, model: Any, preparation: Preparation) -> Any:
        """Switch every layer over."""
        preparation.details["before"] = model.config._attn_implementation
        model.set_attn_implementation(self.implementation)
        if model.config._attn_implementation != self.implementation:  # it only warns
            raise UserError(
                f"technique=attention cannot change {type(model).__name__}, whose attention is "
                "fixed: leave the technique out."
            )
        return model


@dataclass(frozen=True)
class StaticCache(Technique):
    """Keys and values in tensors of the request's full length, made before it starts.

    The same sums over more places, of which the empty ones are masked: in bfloat16 they round
    otherwise often enough to change a token, so it is not lossless.
    """

    name: ClassVar[str] = "static_cache"
    summary: ClassVar[str] = "a key-value cache of fixed length instead of a growing one"
    chooses_cache: ClassVar[bool] = True

    def promise(self, model: Any) -> Promise:
        """No weight less; nothing is copied to grow, and attention also meets the empty places."""
        return Promise(
            bytes_ratio=1.0, note="weights as they were; a cache that need not grow at each step"
        )

    def apply(self, model: Any, preparation: Preparation) -> Any:
        """Make it the model's default, without the compilation that `generate` adds to it on CUDA."""
        model.generation_config.cache_implementation = "static"
        model.generation_config.disable_compile = True
        return model


@dataclass(frozen=True)
class Threads(Technique):
    """So many CPU threads for each operation, while the candidate runs and not the baseline.

    Threads divide the numbers that a product gives, not the sum behind one of them: lossless.
    """

    name: ClassVar[str] = "threads"
    summary: ClassVar[str] = "another number of CPU threads"
    lossless: ClassVar[bool] = True

    count: int = 1

    def __post_init__(self) -> None:
        require(self.count >= 1, "technique.threads.count", self.count, "1 or more")

    def check(self, machine: Machine) -> None:
        """Threads count on a CPU, and no more of them than it has cores."""
        if machine.device != "cpu":
            raise Unsupported(
                f"technique=threads changes what runs on a CPU, and this run is on "
                f"{machine.device_name}: say device=cpu."
            )
        cores = psutil.cpu_count() or 1
        require(self.count <= cores, "technique.threads.count", self.count, f"1 to {cores} here")

    def promise(self, model: Any) -> Promise:
        """No weight and no multiplication less."""
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1.0,
            note=f"{torch.get_num_threads()} to {self.count} threads, weights as they were",
        )

    def apply(self, model: Any, preparation: Preparation) -> Any:
        """The model stays as it is; the threads change around it."""
        preparation.details["before"] = torch.get_num_threads()
        return model

    @contextmanager
    def during(self, model: Any) -> Iterator[None]:
        """Set the threads, and give them back whatever happens."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
