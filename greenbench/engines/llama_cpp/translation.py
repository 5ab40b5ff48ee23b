"""A transformers model in llama.cpp's words: its hyperparameters, the names and order of its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from greenbench.engines.llama_cpp.vocabulary import Ends
from greenbench.errors import Unsupported

if TYPE_CHECKING:
    from gguf import GGUFWriter

Array = np.ndarray[Any, np.dtype[np.float32]]
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""By transformers' model_type, llama.cpp's name."""
ROTATED_IN_PAIRS = {"llama"}
"""Whose queries and keys llama.cpp turns in neighbouring pairs, where transformers turns halves."""
HEAD = "lm_head.weight"
SCALINGS = {"default", "llama3"}
"""Of rotary positions, by transformers' name."""


class Shape(NamedTuple):
    """What of a configuration decides how a model computes."""

    architecture: str
    config: Mapping[str, Any]

    @property
    def head_dim(self) -> int:
        """Of one head."""
        return int(
            self.config.get("head_dim")
            or self.config["hidden_size"] // self.config["num_attention_heads"]
        )

    @property
    def kv_heads(self) -> int:
        """Of keys and values."""
        return int(self.config.get("num_key_value_heads") or self.config["num_attention_heads"])

    @property
    def tied(self) -> bool:
        """Whether the embeddings are the head too."""
        return bool(self.config.get("tie_word_embeddings"))

    @property
    def rope(self) -> Mapping[str, Any]:
        """How positions are turned; in earlier configurations the base stands beside the scaling."""
        found = dict(self.config.get("rope_parameters") or self.config.get("rope_scaling") or {})
        found.setdefault("rope_theta", self.config.get("rope_theta") or 10000.0)
        found.setdefault("rope_type", found.get("type") or "default")
        return found

    @property
    def context(self) -> int:
        """Positions that the model knows."""
        return int(self.config["max_position_embeddings"])


def shape(directory: Path, name: str) -> Shape:
    """The model in `directory`. Raises Unsupported, one sentence, for one that cannot be written as GGUF."""
    config = json.loads((directory / "config.json").read_text())
    kind = config.get("model_type")
    model = Shape(ARCHITECTURES.get(kind, ""), config)
    scaling = model.rope["rope_type"]
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    why = None
    if kind not in ARCHITECTURES:
        why = f"is a {kind}"
    elif scaling not in SCALINGS:
        why = f"scales its rotary positions ({scaling})"
    elif window is not None and window < config["max_position_embeddings"]:
        why = f"attends within a window of {window} tokens"
    elif config.get("quantization_config"):
        why = "is packed"
    elif config.get("hidden_act") != "silu":
        why = f"has the activation {config.get('hidden_act')}"
    if why:
        raise Unsupported(
            f"Model {name} {why}, which engine=llama_cpp cannot write as GGUF yet: it can plain models of "
            f"the kinds {', '.join(sorted(ARCHITECTURES))}; for another give its own GGUF file with "
            "technique=gguf_file, or use engine=transformers."
        )
    return model


def ends(directory: Path, config: Mapping[str, Any]) -> Ends:
    """Of its generation configuration, or else its own."""
    said = dict(config)
    generation = directory / "generation_config.json"
    if generation.exists():
        said |= {k: v for k, v in json.loads(generation.read_text()).items() if v is not None}
    end = said.get("eos_token_id")
    begin = said.get("bos_token_id")
    return Ends(begin, tuple(end) if isinstance(end, list) else (end,) if end is not None else ())


def write_shape(writer: GGUFWriter, model: Shape) -> None:
    """Add the hyperparameters."""
    config = model.config
    writer.add_context_length(model.context)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_rope_freq_base(float(model.rope["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def rope_factors(model: Shape) -> Array | None:
    """What each rotary frequency is divided by, head_dim / 2 of them; null where all stay as they are.

    Llama 3.1: slow ones by a factor, fast ones by 1, those between by something between.
    """
    rope = model.rope
    if rope["rope_type"] != "llama3":
        return None
    turns = float(rope["rope_theta"]) ** (np.arange(0, model.head_dim, 2) / model.head_dim)
    waves = rope["original_max_position_embeddings"] / (2 * np.pi * turns)  # in the first context
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    fast = np.clip((waves - low) / (high - low), 0, 1)
    factors: Array = (1 / ((1 - fast) / rope["factor"] + fast)).astype(np.float32)
    return factors


class Names:
    """llama.cpp's name of each weight."""

    def __init__(self, model: Shape) -> None:
        from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

        arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == model.architecture)
        self._map = get_tensor_name_map(arch, model.config["num_hidden_layers"])
        self._skip = {HEAD} if model.tied else set()

    def of(self, name: str) -> str | None:
        """Null for what is not written: a head that is the embeddings. Raises Unsupported if unknown."""
        if name in self._skip or name.endswith("rotary_emb.inv_freq"):
            return None
        found: str | None = self._map.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise Unsupported(
                f"engine=llama_cpp knows no weight {name}: use engine=transformers, or leave out what "
                "added it."
            )
        return found


def ordered(name: str, values: Array, model: Shape) -> Array:
    """The weight `name`, its rows in llama.cpp's order."""
    if model.architecture not in ROTATED_IN_PAIRS:
        return values
    heads = {"q_proj": model.config["num_attention_heads"], "k_proj": model.kv_heads}
    for part, count in heads.items():
        if f".{part}." in name:
            halves = values.reshape(count, 2, values.shape[0] // count // 2, *values.shape[1:])
            return halves.swapaxes(1, 2).reshape(values.shape)
    return values
