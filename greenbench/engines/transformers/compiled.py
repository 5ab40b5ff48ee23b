"""A model whose decode steps are compiled, and whose key-value cache stays where it is."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch

from greenbench.engines.start import Start
from greenbench.engines.transformers.load import said, shell
from greenbench.engines.transformers.options import STATIC_CACHE, apply_options
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models.files import directory
from greenbench.models.packing import packing
from greenbench.schema.spec import ModelSpec

STEPS = 8
"""Tokens of the request that is served to compile: CUDA graphs run twice before they are kept."""
GRAPHS = 64
"""Shapes that one step may be compiled for: two models meet those of requests and of every task."""
LONGEST = "_longest_written"
"""Attribute of a model while it answers in words: places of the cache that all its answers share the length
of, as each length is compiled anew."""
GRAPHS_OF_THREAD = ("tree_manager_containers", "tree_manager_locks")
"""Where torch's CUDA graph trees keep them, in ``torch._inductor.cudagraph_trees.local``."""


def decode_compiled(model: Any, mode: str, *, whole: bool) -> None:
    """From now on `model` decodes by a step that torch compiles in `mode` when it is first taken.

    The prompt stays uncompiled, as each of its lengths would be compiled anew. `whole`: a step that is
    no single graph is an error, where torch else runs the rest of it uncompiled and says nothing.
    """
    plain = model.forward
    model.forward = _decode_by(torch.compile(plain, mode=mode, fullgraph=whole), plain)


def serve_once(
    model: Any, generate: Callable[..., Any], batch: int, prompt: int, answer: int
) -> None:
    """One batch of requests of that shape; which tokens they have does not matter."""
    tokens = torch.ones(batch, prompt, dtype=torch.long, device=model.device)
    with torch.inference_mode():
        generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            min_new_tokens=answer,
            max_new_tokens=answer,
            pad_token_id=model.generation_config.pad_token_id or 0,
        )


def graphs() -> int:
    """Graphs compiled by this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def forget_graphs() -> None:
    """Let go of all that was compiled: it counts against torch's limit, and holds its models."""
    torch._dynamo.reset()


def for_another_thread() -> Callable[[], None]:
    """What is to be called first in a thread that generates in place of this one.

    Of what torch keeps by thread two things matter. A new thread computes with as many threads as were set
    last only once it has looked. And CUDA graphs are kept by the thread that records them: another one
    would record its own beside them, into memory of its own, wherever it met a shape first.
    """
    trees = sys.modules.get("torch._inductor.cudagraph_trees")  # none: nothing was recorded
    kept = {name: trees.get_obj(trees.local, name) for name in GRAPHS_OF_THREAD} if trees else {}

    def adopt() -> None:
        torch.get_num_threads()
        if trees:
            vars(trees.local).update(kept)

    return adopt


def as_reference(model: Any, start: Start) -> None:
    """Give `model` a static cache and a compiled decode step, and compile it for the run's requests.

    Raises UserError where its step is not one graph.
    """
    torch._dynamo.config.recompile_limit = GRAPHS
    apply_options(model, STATIC_CACHE)
    keep_cache(model, start)
    mode = "reduce-overhead" if model.device.type == "cuda" else "default"
    decode_compiled(model, mode, whole=True)
    if start.tokens is None:  # no one knows the requests yet: the first of them compiles
        return
    answer = min(STEPS, start.tokens - 1)
    try:
        for _ in range(2):  # the second finds what the first has made
            serve_once(model, model.generate, start.at_once, start.tokens - answer, answer)
    except torch._dynamo.exc.TorchDynamoException as error:
        raise UserError(
            f"engine.reference=compiled cannot compile a decode step of {type(model).__name__} as one "
            f"graph ({said(error)}): say engine.reference=eager."
        ) from error


def keep_cache(model: Any, start: Start) -> None:
    """Let all requests of the run's shape, prefill too, share one static cache, emptied for each.

    CUDA graphs hold the cache's address. And ``generate`` by itself never makes a cache shorter than an
    earlier one: after a task's long texts every request would attend to as many places.
    """
    if start.tokens is None or model.generation_config.cache_implementation != "static":
        return
    made, least = model._prepare_static_cache, start.tokens - 1
    kept: dict[bool, Any] = {}

    def prepare(**asked: Any) -> Any:
        model._previous_max_cache_length = max(least, vars(model).get(LONGEST, 0))
        usual = asked["batch_size"] == start.at_once and asked["max_cache_len"] <= least
        inference = torch.is_inference_mode_enabled()  # whose tensors nothing else may write
        if usual and inference in kept:
            kept[inference].reset()
            return kept[inference]
        cache = made(**asked)
        if usual:
            kept[inference] = cache
        return cache

    model._prepare_static_cache = prepare


@contextmanager
def cache_of(model: Any, places: int) -> Iterator[None]:
    """Within this context a static cache of `model` has so many places at least."""
    setattr(model, LONGEST, places)
    try:
        yield
    finally:
        delattr(model, LONGEST)


def class_obstacle(spec: ModelSpec) -> str | None:
    """Why the code of the model, or of what packs it, is not to be compiled; null: it is."""
    from transformers.quantizers.auto import AutoHfQuantizer

    model = shell(spec, directory(spec))
    if not model._can_compile_fullgraph:
        return f"transformers does not compile {type(model).__name__} as one graph"
    if packed := packing(model.config):
        said = model.config.quantization_config
        try:
            compiles = AutoHfQuantizer.from_config(said, pre_quantized=True).is_compileable
        except Exception:  # of a kind that it does not know at all, which its run then says
            compiles = False
        if not compiles:
            return f"transformers does not compile what is packed as {packed}"
    return None


def require_compiler(who: str, machine: Machine) -> None:
    """Raise Unsupported, for `who`, unless there is what torch compiles with: C++ for a CPU, else Triton."""
    if machine.device == "cpu":
        _require_cpp(who)
    elif find_spec("triton") is None:
        raise Unsupported(f"{who} needs triton on a GPU: pip install triton.")


def _require_cpp(who: str) -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise Unsupported(
            f"{who} needs a C++ compiler to make kernels for a CPU, and there is none here: install "
            "g++, or set CXX."
        ) from error


def _decode_by(step: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass that is `step` for one token a row after a cache, and `plain` otherwise."""

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        tokens = kwargs.get("input_ids")
        decodes = tokens is not None and tokens.shape[1] == 1
        run = step if decodes and kwargs.get("past_key_values") is not None else plain
        return run(*args, **kwargs)

    return forward
