"""How large what vLLM serves is: checkpoints, and the keys and values that it keeps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

from greenbench.engines.engine import Build, Footprint
from greenbench.models import files, tensors
from greenbench.schema.enums import Dtype

HEAD: Final = "lm_head.weight"
BYTES: Final = {Dtype.float32: 4, Dtype.bfloat16: 2, Dtype.float16: 2}


def text(directory: Path) -> dict[str, Any]:
    """The configuration of the model of text."""
    found: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return dict(found.get("text_config") or found)


def shape(directory: Path, gpus: int = 1) -> int | None:
    """Numbers that each GPU keeps of a token: a key and a value in each layer, of its share of the heads,
    or of one head where there are more GPUs than heads; null where it is not said."""
    said = text(directory)
    heads, layers = said.get("num_attention_heads"), said.get("num_hidden_layers")
    width = said.get("head_dim") or (heads and said.get("hidden_size", 0) // heads)
    if not heads or not layers or not width:
        return None
    kept = max(1, int(said.get("num_key_value_heads") or heads) // gpus)
    return 2 * int(layers) * kept * int(width)


def places(build: Build) -> list[Path]:
    """Its checkpoint, and that of what drafts beside it."""
    drafting = build.options.get("speculative_config")
    draft = drafting.get("model") if isinstance(drafting, Mapping) else None
    return [Path(build.source), *([Path(draft)] if draft else [])]


def footprint(build: Build) -> Footprint:
    """Of its checkpoints, whose floating-point numbers are served in its dtype."""
    dtype, numbers, held = build.model.dtype, 0, Counter[str]()
    for place in places(build):
        tied = text(place).get("tie_word_embeddings")
        for file in files.weights(place):
            for name, tensor in tensors.header(file).items():
                if name == HEAD and tied:
                    continue  # the embeddings once more
                count = prod(tensor["shape"])
                numbers += count
                if tensor["dtype"] in tensors.DTYPES:
                    held[dtype.value] += BYTES[dtype] * count
                else:
                    start, end = tensor["data_offsets"]
                    held[tensor["dtype"].lower()] += end - start
    layers = text(Path(build.source)).get("num_hidden_layers")
    if set(held) == {dtype.value}:
        return Footprint(numbers, layers, dict(held))
    return Footprint(None, layers, dict(held), "several numbers are packed into one")


def told(build: Build) -> Footprint:
    """The footprint, as far as it is known."""
    if "quantization" in build.options:
        layers = text(Path(build.source)).get("num_hidden_layers")
        return Footprint(None, layers, None, "vLLM packs weights as it loads them")
    return footprint(build)
