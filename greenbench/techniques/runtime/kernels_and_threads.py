"""How the same weights are run: attention's implementation, a static cache, threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import torch

from greenbench.engines.engine import Engine
from greenbench.engines.transformers import hub_kernels
from greenbench.engines.transformers.options import FLASH, STATIC_CACHE
from greenbench.errors import Unsupported, UserError
from greenbench.machine import allowance
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import EngineOption, MachineSetting, Traits

BUILT = "kernels-community/NAME"
"""How a hub's kernels are called."""


@dataclass(frozen=True)
class Attention(EngineOption):
    """Another implementation of attention: the same sums, rounded otherwise."""

    name: ClassVar[str] = "attention"
    summary: ClassVar[str] = "another implementation of attention"
    paper: ClassVar[str | None] = "arXiv:2307.08691"
    packages: ClassVar[tuple[str, ...]] = ("flash-attn",)

    implementation: str = "eager"
    """eager, sdpa (torch's fused one, which transformers takes by itself), flash_attention_2, or what a hub
    has built for it, as kernels-community/flash-attn2, at a revision as kernels-community/flash-attn2@v4."""

    def __post_init__(self) -> None:
        if not hub_kernels.is_kernel(self.implementation):
            key = "technique.attention.implementation"
            require_choice(self.implementation, key, ("eager", "sdpa", FLASH, BUILT))

    def traits(self) -> Traits:
        """Under a static cache flash attention looks up how long it is, which no graph holds."""
        return Traits(breaks_graphs=self.implementation not in ("eager", "sdpa"))

    def check(self, machine: Machine, engine: Engine) -> None:
        """Flash attention is a package, or a hub's build, with CUDA kernels for compute capability 8.0 and
        newer."""
        super().check(machine, engine)
        if not self.traits().breaks_graphs:
            return
        if machine.capability is None or machine.capability < (8, 0):
            raise Unsupported(
                f"attention={self.implementation} needs a CUDA GPU of compute capability 8.0 or newer, and "
                f"this run is on {machine.device_name}: choose technique.attention.implementation=sdpa."
            )
        if self.kernels():
            self._require_kernel()
        elif find_spec("flash_attn") is None:
            raise Unsupported(
                f"attention={FLASH} needs the package flash-attn: pip install flash-attn, "
                "or choose technique.attention.implementation=sdpa."
            )

    def _require_kernel(self) -> None:
        if lacking := hub_kernels.lacking():
            raise Unsupported(
                f"attention={self.implementation} needs the package kernels: pip install '{lacking}', or "
                "choose technique.attention.implementation=sdpa."
            )
        hub_kernels.require(self.implementation)

    def kernels(self) -> Sequence[str]:
        """The one that it names."""
        return [self.implementation] if hub_kernels.is_kernel(self.implementation) else []

    def exact(self) -> Self:
        """With the commit that a hub's kernel is now; where none can be had or loaded, it will be refused."""
        if not self.kernels() or hub_kernels.lacking():
            return self
        try:
            commit = hub_kernels.fetch(self.implementation).name
        except UserError:  # of its own run alone, and no end of a sweep
            return self
        name = hub_kernels.repository(self.implementation)
        return replace(self, implementation=f"{name}@{commit}")

    def label(self) -> str:
        """As any technique's, without a kernel's commit."""
        plain = hub_kernels.repository(self.implementation)
        return super(Attention, replace(self, implementation=plain)).label()

    def promise(self) -> Promise:
        """No weight and no multiplication less."""
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1.0,
            note=f"{self.implementation} attention, weights as they were",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """The model had this implementation already."""
        return details.get("before") == {"attn_implementation": self.implementation}

    def options(self, engine: str) -> Mapping[str, object]:
        """As transformers switches every layer over."""
        _require_transformers(self.name, engine, "implementations of attention")
        return {"attn_implementation": self.implementation}


@dataclass(frozen=True)
class StaticCache(EngineOption):
    """Keys and values in tensors of the request's full length, made before it starts.

    The same sums over more places, of which the empty ones are masked: in bfloat16 they round
    otherwise often enough to change a token, so it is not lossless.
    """

    name: ClassVar[str] = "static_cache"
    summary: ClassVar[str] = "a key-value cache of fixed length instead of a growing one"

    def traits(self) -> Traits:
        """Of fixed length, for every request."""
        return Traits(chooses_cache=True, of_reference=True)

    def promise(self) -> Promise:
        """No weight less; nothing is copied to grow, and attention also meets the empty places."""
        return Promise(
            bytes_ratio=1.0, note="weights as they were; a cache that need not grow at each step"
        )

    def options(self, engine: str) -> Mapping[str, object]:
        """As ``generate`` takes it."""
        _require_transformers(self.name, engine, "key-value caches")
        return STATIC_CACHE


@dataclass(frozen=True)
class Threads(MachineSetting):
    """So many CPU threads for each operation, while the candidate runs and not the baseline.

    Threads divide the numbers that a product gives, not the sum behind one of them: lossless.
    """

    name: ClassVar[str] = "threads"
    summary: ClassVar[str] = "another number of CPU threads"

    count: int = 1

    def __post_init__(self) -> None:
        require(self.count >= 1, "technique.threads.count", self.count, "1 or more")

    def traits(self) -> Traits:
        """The same sums."""
        return Traits(lossless=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """Threads count on a CPU, and no more of them than this process may use."""
        if machine.device != "cpu":
            raise Unsupported(
                f"technique=threads changes what runs on a CPU, and this run is on "
                f"{machine.device_name}: say device=cpu."
            )
        most = allowance.threads()
        require(self.count <= most, "technique.threads.count", self.count, f"1 to {most} here")

    def promise(self) -> Promise:
        """No weight and no multiplication less."""
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1.0,
            note=f"{torch.get_num_threads()} to {self.count} threads, weights as they were",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """There were as many without it."""
        return bool(details.get("before") == self.count)

    def tried(self, machine: Machine) -> dict[str, Any]:
        """How many there are without it."""
        return {"before": torch.get_num_threads()}

    @contextmanager
    def hold(self, machine: Machine, observed: dict[str, Any]) -> Iterator[None]:
        """Set the threads, and give them back whatever happens."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _require_transformers(name: str, engine: str, what: str) -> None:
    if engine != "transformers":
        raise Unsupported(
            f"technique={name} chooses among the {what} of transformers, and engine={engine} has its "
            "own: use engine=transformers."
        )
