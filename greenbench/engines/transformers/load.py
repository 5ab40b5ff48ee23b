"""Models loaded by transformers, from a directory of safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from greenbench.schema.spec import ModelSpec


class Loaded(NamedTuple):
    """A model on its device, ready for inference, and its tokenizer."""

    model: Any
    tokenizer: Any


def load(spec: ModelSpec, path: Path, device_map: Any) -> Loaded:
    """Load the model in `path` at the spec's reference dtype where `device_map` says, and its tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=spec.trust_remote_code)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(load_model(spec, path, device_map), tokenizer)


def load_model(spec: ModelSpec, path: Path, device_map: Any) -> Any:
    """Load the model alone."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        path,
        dtype=getattr(torch, spec.dtype.value),
        device_map=device_map,
        use_safetensors=True,
        trust_remote_code=spec.trust_remote_code,
    ).eval()
