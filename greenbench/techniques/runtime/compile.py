"""torch.compile of the decode step, done for the run's own requests before anything is measured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from greenbench.engines.engine import Engine
from greenbench.engines.transformers.compiled import (
    decode_compiled,
    forget_graphs,
    graphs,
    require_compiler,
    serve_once,
)
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require_choice
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


@dataclass(frozen=True)
class Compile(ModelEdit):
    """Fuse what one decode step does into few kernels.

    The prompt stays uncompiled, as each of its lengths would be compiled anew. Under a growing
    cache the step is compiled again, for any length; after `static_cache` once is enough. Fused
    kernels round less often, so the output may differ. It belongs after what changes the model.
    """

    name: ClassVar[str] = "compile"
    summary: ClassVar[str] = "decode steps compiled into fused kernels"

    mode: str = "default"
    """As torch names them: reduce-overhead and max-autotune use CUDA graphs, which want a static
    cache."""

    def __post_init__(self) -> None:
        require_choice(self.mode, "technique.compile.mode", MODES)

    def traits(self) -> Traits:
        """It traces the blocks as they are."""
        return Traits(holds_blocks=True, traces=True, of_reference=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """Kernels for a CPU are C++, those for a GPU are Triton's."""
        require_compiler("technique=compile", machine)

    def promise(self, model: Any) -> Promise:
        """No weight and no multiplication less."""
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1.0,
            note="weights as they were; fewer kernels and less traffic in a decode step",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """Nothing was compiled."""
        return not details.get("graphs")

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Compile by serving requests of the run's shape, without what earlier runs compiled."""
        from torch._inductor.utils import fresh_cache

        forget_graphs()  # of a model prepared before this one
        before, asked = graphs(), work.workload
        decode_compiled(model, self.mode, whole=False)
        generate = work.loop or model.generate
        with fresh_cache():
            for _ in range(2):  # the second request finds what the first has made
                serve_once(
                    model, generate, asked.batch_size, asked.prompt_tokens, asked.output_tokens
                )
        work.details["graphs"] = graphs() - before
        return Edited(model, functools.partial(_watched, generate, graphs(), work.observed))


def _watched(
    generate: Callable[..., Any], compiled: int, observed: dict[str, Any], *args: Any, **kwargs: Any
) -> Any:
    """Call `generate`, and tell whether anything was compiled after preparation."""
    output = generate(*args, **kwargs)
    observed["graphs_compiled_later"] = graphs() - compiled
    return output
