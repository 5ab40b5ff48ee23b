"""GGUF files, written from a model's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from greenbench.engines.llama_cpp import translation, vocabulary
from greenbench.engines.llama_cpp.translation import Array, Names, Shape
from greenbench.models import files, tensors
from greenbench.schema.enums import Dtype

PLAIN = {Dtype.float32: "F32", Dtype.bfloat16: "BF16", Dtype.float16: "F16"}
"""ggml's names."""
ROPE = "rope_freqs.weight"
Choose = Callable[[str, tuple[int, ...]], str]
"""ggml's type for the weight of this (transformers') name and shape."""


def plain(dtype: Dtype) -> Choose:
    """Matrices as `dtype`; llama.cpp computes with vectors in float32 only."""
    return lambda name, shape: PLAIN[dtype] if len(shape) > 1 else "F32"


def convert(directory: Path, dtype: Dtype, name: str, target: Path) -> None:
    """Write the checkpoint in `directory` as the GGUF file `target`. Raises Unsupported."""
    found = files.weights(directory)
    write(target, directory, tensors.names(found), lambda: tensors.read(found), plain(dtype), name)


def write(
    target: Path,
    directory: Path,
    shapes: Mapping[str, tuple[int, ...]],
    weights: Callable[[], Iterable[tuple[str, Array]]],
    choose: Choose,
    name: str,
) -> None:
    """Write a model whose configuration and tokenizer lie in `directory`, one weight after another.

    `weights` gives those of `shapes`, in their order, by transformers' names.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape, quantize

    model = translation.shape(directory, name)
    names = Names(model)
    tokenizer = vocabulary.require_byte_pairs(directory, name)
    writer = GGUFWriter(target, model.architecture)
    translation.write_shape(writer, model)
    ends = translation.ends(directory, model.config)
    vocabulary.write(writer, tokenizer, model.config["vocab_size"], ends)
    factors = translation.rope_factors(model)
    if factors is not None:
        writer.add_tensor_info(ROPE, factors.shape, factors.dtype, factors.nbytes)
    kinds: dict[str, Any] = {}
    for each, shape in shapes.items():
        if (theirs := names.of(each)) is not None:
            kind = kinds[each] = GGMLQuantizationType[choose(each, shape).upper()]
            if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
                numbers = np.dtype(kind.name.replace("F", "float"))
                writer.add_tensor_info(theirs, shape, numbers, prod(shape) * numbers.itemsize)
                continue
            size = quant_shape_to_byte_shape(shape, kind)
            writer.add_tensor_info(theirs, size, np.dtype(np.uint8), prod(size), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for each, values in weights():
        if each in kinds:
            writer.write_tensor_data(
                quantize(translation.ordered(each, values, model), kinds[each])
            )
    writer.close()


def model_shape(directory: Path, name: str) -> Shape:
    """Raises Unsupported for a model that cannot be written."""
    vocabulary.require_byte_pairs(directory, name)
    return translation.shape(directory, name)
