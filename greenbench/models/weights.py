"""A model's weights: made of a GGUF file, and the bytes they truly hold."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn


def storage_bytes(model: nn.Module, loop: Any = None) -> dict[str, int]:
    """Bytes the model's weights truly hold, by storage dtype; shared storage counts once.

    So do those of models that `loop`, which generates with it, holds beside it. Looks inside tensor
    subclasses and quantization states, where ``get_memory_footprint`` does not.
    """
    seen: dict[int, tuple[str, int]] = {}
    for tensor in _plain_tensors([model, loop], set()):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = (str(tensor.dtype).removeprefix("torch."), storage.nbytes())
    totals: dict[str, int] = {}
    for dtype, size in seen.values():
        totals[dtype] = totals.get(dtype, 0) + size
    return dict(sorted(totals.items()))


def _plain_tensors(thing: Any, visited: set[int]) -> Iterator[torch.Tensor]:
    """Every ordinary tensor reachable from a module, a tensor subclass or a quantization state."""
    if id(thing) in visited or isinstance(thing, type):
        return
    visited.add(id(thing))
    inner = _inner(thing)
    if isinstance(thing, torch.Tensor) and not hasattr(thing, "__tensor_flatten__"):
        yield thing
    for child in inner:
        yield from _plain_tensors(child, visited)


def _inner(thing: Any) -> list[Any]:
    if isinstance(thing, nn.Module | torch.Tensor):
        flatten: Any = getattr(thing, "__tensor_flatten__", lambda: ([], None))
        names = flatten()[0]
        return [*vars(thing).values(), *(getattr(thing, name) for name in names)]
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, list | tuple):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    is_state = type(thing).__module__.partition(".")[0] in ("bitsandbytes", "torchao", "optimum")
    return list(vars(thing).values()) if is_state and hasattr(thing, "__dict__") else []


def from_gguf(parts: list[Path], directory: Path) -> None:
    """Join GGUF parts, dequantize to float32 and save as safetensors in `directory`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory(dir=directory.parent) as work:
        with (Path(work) / "model.gguf").open("wb") as joined:
            for part in parts:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, joined)
        model = AutoModelForCausalLM.from_pretrained(
            work,
            gguf_file="model.gguf",
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        tokenizer = AutoTokenizer.from_pretrained(work, gguf_file="model.gguf")
    model.config.__dict__.pop("quantization_config", None)  # the weights are plain float32 now
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
