"""torch.compile of the decode step, done for the run's own requests before anything is measured."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import torch

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require_choice
from greenbench.schema.spec import WorkloadSpec
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
        return Traits(holds_blocks=True, traces=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """Kernels for a CPU are C++, those for a GPU are Triton's."""
        if machine.device == "cpu":
            _require_cpp()
        elif find_spec("triton") is None:
            raise Unsupported("technique=compile needs triton on a GPU: pip install triton.")

    def promise(self, model: Any) -> Promise:
        """No weight and no multiplication less."""
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1.0,
            note="weights as they were; fewer kernels and less traffic in a decode step",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Compile by serving requests of the run's shape, without what earlier runs compiled."""
        from torch._inductor.utils import fresh_cache

        torch._dynamo.reset()  # a model prepared before this one counts against torch's limit
        before = _graphs()
        plain = model.forward
        model.forward = _decode_by(torch.compile(plain, mode=self.mode), plain)
        generate = work.loop or model.generate
        with fresh_cache():
            for _ in range(2):  # the second request finds what the first has made
                _serve(model, generate, work.workload)
        work.details["graphs"] = _graphs() - before
        return Edited(model, functools.partial(_watched, generate, _graphs(), work.observed))


def _decode_by(step: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass that is `step` for one token a row after a cache, and `plain` otherwise."""

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        tokens = kwargs.get("input_ids")
        decodes = tokens is not None and tokens.shape[1] == 1
        run = step if decodes and kwargs.get("past_key_values") is not None else plain
        return run(*args, **kwargs)

    return forward


@torch.inference_mode()
def _serve(model: Any, generate: Callable[..., Any], workload: WorkloadSpec) -> None:
    """One request batch of the workload's shape; which tokens it has does not matter."""
    prompt = torch.ones(workload.batch_size, workload.prompt_tokens, dtype=torch.long)
    prompt = prompt.to(model.device)
    generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        min_new_tokens=workload.output_tokens,
        max_new_tokens=workload.output_tokens,
        pad_token_id=model.generation_config.pad_token_id or 0,
    )


def _watched(
    generate: Callable[..., Any], graphs: int, observed: dict[str, Any], *args: Any, **kwargs: Any
) -> Any:
    """Call `generate`, and tell whether anything was compiled after preparation."""
    output = generate(*args, **kwargs)
    observed["graphs_compiled_later"] = _graphs() - graphs
    return output


def _graphs() -> int:
    """Graphs compiled by this process so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def _require_cpp() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise Unsupported(
            "technique=compile needs a C++ compiler to make kernels for a CPU, and there is none "
            "here: install g++, or set CXX."
        ) from error
