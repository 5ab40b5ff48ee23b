"""Weights in the types of GGUF files, for llama.cpp."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.schema.ranges import require_choice
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

TYPES = ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "mxfp4")
BLOCK = 32
"""Weights of a row that share a scale, in each of these types."""
BYTES = {
    "q8_0": 34,
    "q4_0": 18,
    "q4_1": 20,
    "q5_0": 22,
    "q5_1": 24,
    "mxfp4": 17,
    "f16": 64,
    "f32": 128,
}
"""Of a block."""
HEADS = ("lm_head.weight", "model.embed_tokens.weight")
"""The matrix that gives the logits: its own, or the embeddings."""
HEAD = "q8_0"
"""Its type: in 4 bits it costs more quality than all else."""


@dataclass(frozen=True)
class Gguf(ModelEdit):
    """Quantize every matrix to one of llama.cpp's types, rounded to nearest; the output head to 8 bits."""

    name: ClassVar[str] = "gguf"
    summary: ClassVar[str] = "weights in a type of GGUF files, for llama.cpp"
    packages: ClassVar[tuple[str, ...]] = ("gguf",)
    form: ClassVar[Form] = "gguf"
    told: ClassVar[frozenset[str]] = frozenset({"type"})

    type: str = "q8_0"
    """q8_0, q5_1, q5_0, q4_1, q4_0 or mxfp4."""

    def __post_init__(self) -> None:
        if "_k" in self.type.lower() or self.type.lower().startswith("iq"):
            raise UserError(
                f"technique.gguf.type={self.type} needs llama.cpp's own quantizer, which the wheel does not "
                f"have: choose one of {', '.join(TYPES)}, or make the file with llama-quantize and give it "
                "with technique=gguf_file."
            )
        require_choice(self.type, "technique.gguf.type", TYPES)

    def traits(self) -> Traits:
        """It reads plain weights and writes what nothing can change."""
        return Traits(
            needs_plain_weights=True, packs_weights=True, holds_blocks=True, leaves_files=True
        )

    def check(self, machine: Machine, engine: Engine) -> None:
        """The engine must read such files."""
        if "gguf" not in engine.forms:
            raise Unsupported(
                f"technique={self.name} leaves a GGUF file, which engine={engine.name} does not take: use "
                "engine=llama_cpp."
            )

    def promise(self, model: Any) -> Promise:
        """A block's bytes for each of its weights, and vectors in float32."""
        before = sum(weight.nbytes for weight in model.parameters())
        weights = dict(model.named_parameters())
        tied = HEADS[0] not in weights
        after = sum(
            _bytes(self._kind(name, weight, not tied), weight) for name, weight in weights.items()
        )
        bits = 8 * BYTES[self.type] / BLOCK
        return Promise(
            bytes_ratio=after / before,
            kernel=self.type,
            note=f"{bits:g} bits a weight, the head {HEAD}",
        )

    @torch.no_grad()
    def edit(self, model: Any, work: Preparation) -> Edited:
        """Write the file, and let the module have the weights that it stands for."""
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize, quantize

        from greenbench.engines.llama_cpp.gguf_writer import write

        folder = Path(work.workspace or mkdtemp(prefix="greenbench-")) / "gguf"
        folder.mkdir(parents=True, exist_ok=True)
        weights = dict(model.named_parameters())  # a head that is the embeddings once
        kinds = {
            name: self._kind(name, weight, HEADS[0] in weights) for name, weight in weights.items()
        }
        config = deepcopy(model.config)
        config.tie_word_embeddings = HEADS[0] not in weights
        for part in (config, model.generation_config, work.tokenizer):
            part.save_pretrained(folder)

        def values() -> Iterator[tuple[str, Any]]:
            for done, (name, weight) in enumerate(weights.items()):
                yield name, _numbers(weight)
                work.progress(done, len(weights))

        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        file = folder / "model.gguf"
        write(file, folder, shapes, values, lambda name, shape: kinds[name], "of this run")
        for name, weight in weights.items():
            kind = GGMLQuantizationType[kinds[name].upper()]
            weight.copy_(torch.from_numpy(dequantize(quantize(_numbers(weight), kind), kind)))
        work.details["types"] = dict(Counter(kinds.values()))
        return Edited(model, files=file)

    def _kind(self, name: str, weight: torch.Tensor, has_head: bool) -> str:
        """Of the matrix that gives the logits it is `HEAD`; a row that blocks do not fill stays plain."""
        if weight.ndim < 2:
            return "f32"
        if weight.shape[-1] % BLOCK:
            return "f16"
        return HEAD if name == HEADS[not has_head] else self.type


def _bytes(kind: str, weight: torch.Tensor) -> float:
    return weight.numel() * BYTES[kind] / BLOCK


def _numbers(weight: torch.Tensor) -> Any:
    return weight.detach().float().cpu().numpy()
