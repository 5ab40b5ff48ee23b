"""What a GGUF file says of itself: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

The package gguf reads it too, in seconds: it makes an object of each of a tokenizer's words.
"""

from __future__ import annotations

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.engines.engine import Footprint
from greenbench.errors import UserError

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9


class Header(NamedTuple):
    """Its hyperparameters, and the shape and type of each of its weights."""

    fields: dict[str, Any]
    """Numbers and strings; no arrays."""
    tensors: dict[str, tuple[tuple[int, ...], int]]

    @property
    def context(self) -> int:
        """Positions that the model knows."""
        return int(self.fields[f"{self.fields['general.architecture']}.context_length"])

    def footprint(self) -> Footprint:
        """Bytes by ggml's types, and what they are of."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        sizes: dict[str, int] = {}
        for shape, number in self.tensors.values():
            kind = GGMLQuantizationType(number)
            block, size = GGML_QUANT_SIZES[kind]
            name = kind.name.lower()
            sizes[name] = sizes.get(name, 0) + prod(shape) // block * size
        blocks = {name.split(".")[1] for name in self.tensors if name.startswith("blk.")}
        parameters = sum(prod(shape) for shape, _ in self.tensors.values())
        return Footprint(parameters, len(blocks), dict(sorted(sizes.items())))


def header(file: Path) -> Header:
    """Raises UserError where `file` is no GGUF file, or cannot be read."""
    try:
        with (
            file.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw,
        ):
            return _Cursor(raw).header()
    except (OSError, ValueError, KeyError, UnicodeError, struct.error) as error:
        raise UserError(
            f"{file.name} is no GGUF file that can be read ({type(error).__name__}: {error}): give another."
        ) from error


class _Cursor:
    """A place in the file."""

    def __init__(self, raw: mmap.mmap) -> None:
        self._raw, self._at = raw, 0

    def header(self) -> Header:
        if self._raw[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._at = 8
        count, pairs = self._take("Q"), self._take("Q")
        fields = {self._string(): self._value(self._take("I")) for _ in range(pairs)}
        tensors = {}
        for _ in range(count):
            name = self._string()
            shape = tuple(self._take("Q") for _ in range(self._take("I")))
            tensors[name] = shape, self._take("I")
            self._take("Q")  # where it lies
        return Header({name: value for name, value in fields.items() if value is not None}, tensors)

    def _take(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self._raw, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return value

    def _string(self) -> str:
        size = self._take("Q")
        self._at += size
        return self._raw[self._at - size : self._at].decode()

    def _value(self, kind: int) -> Any:
        """Null for an array, which is passed over."""
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._take(SCALARS[kind])
        inner, count = self._take("I"), self._take("Q")
        if inner in SCALARS:
            self._at += count * struct.calcsize(f"<{SCALARS[inner]}")
        else:
            for _ in range(count):
                self._value(inner)
        return None
