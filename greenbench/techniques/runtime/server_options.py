"""How a server runs the same weights: the cache of prompts, and what it compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from greenbench.schema.technique import Promise
from greenbench.techniques.shared.engine_options import require_engine
from greenbench.techniques.technique import EngineOption


@dataclass(frozen=True)
class PrefixCaching(EngineOption):
    """Keep keys and values of prompts for those that begin alike."""

    name: ClassVar[str] = "prefix_caching"
    summary: ClassVar[str] = "vLLM keeps what prompts that begin alike share"
    paper: ClassVar[str | None] = "arXiv:2312.07104"

    def promise(self) -> Promise:
        """Nothing beside the cache that is there; what is saved depends on how alike prompts are."""
        return Promise(
            bytes_ratio=1.0,
            note="the most that it can save: a workload's prompts come around again and again, whole",
        )

    def options(self, engine: str) -> Mapping[str, object]:
        """As vLLM takes it; without this technique it is off."""
        require_engine(self.name, engine, "vllm")
        return {"enable_prefix_caching": True}


@dataclass(frozen=True)
class EnforceEager(EngineOption):
    """Neither compiled code nor CUDA graphs: what they save is how much worse this is."""

    name: ClassVar[str] = "enforce_eager"
    summary: ClassVar[str] = "vLLM without compiled code and CUDA graphs"

    def promise(self) -> Promise:
        """No weight less; more launches."""
        return Promise(bytes_ratio=1.0, note="weights as they were, each operation on its own")

    def options(self, engine: str) -> Mapping[str, object]:
        """As vLLM takes it."""
        require_engine(self.name, engine, "vllm")
        return {"enforce_eager": True}
