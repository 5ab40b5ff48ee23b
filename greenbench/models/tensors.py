"""The tensors of a checkpoint, read without torch: https://github.com/huggingface/safetensors#format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Of floating-point numbers; numpy has no bfloat16."""


def header(file: Path) -> dict[str, dict[str, Any]]:
    """By name, the dtype, shape and place of each tensor: its length in 8 bytes, then JSON."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        found: dict[str, dict[str, Any]] = json.loads(stream.read(length))
    return {name: tensor for name, tensor in found.items() if name != "__metadata__"}


def names(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors, by name."""
    return {name: tuple(each["shape"]) for file in files for name, each in header(file).items()}


def elements(files: list[Path]) -> int:
    """Numbers in all tensors."""
    return sum(prod(shape) for shape in names(files).values())


def held_bytes(files: list[Path], size: int) -> int:
    """What all tensors take where floating-point numbers have `size` bytes each, and others stay packed."""
    found = [each for file in files for each in header(file).values()]
    return sum(
        size * prod(each["shape"])
        if each["dtype"] in DTYPES
        else each["data_offsets"][1] - each["data_offsets"][0]
        for each in found
    )


def read(files: list[Path]) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    """Every tensor in float32, one after another. Raises KeyError for integers: a packed checkpoint's."""
    import numpy as np  # which the names and shapes do without

    for file in files:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
        raw = np.memmap(file, np.uint8, "r", offset=8 + length)
        for name, each in header(file).items():
            start, end = each["data_offsets"]
            plain = raw[start:end].view(DTYPES[each["dtype"]]).reshape(each["shape"])
            yield name, widened(plain) if each["dtype"] == "BF16" else plain.astype(np.float32)


def widened(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 of the bits of bfloat16, which are its upper half."""
    import numpy as np

    return (bits.astype(np.uint32) << 16).view(np.float32)
