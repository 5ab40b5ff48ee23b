"""Linear layers whose weights are integers: packed codes on a grid, and what multiplies by them.

Everywhere, weight = scale * (code - zero), with a scale and a zero for each group of inputs. The zero is a
code itself, as checkpoints have it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

FAST_CPU = ("AVX2", "AVX512")
"""Vector units for which PyTorch's packed products on the CPU are written; elsewhere they crawl."""
INT4_GROUPS = (32, 64, 128, 256)
WORD = 32
"""Bits of one; so many codes fill whole words, of whatever width they are."""


class Codes(NamedTuple):
    """A quantized weight matrix (out, in), in groups along its inputs."""

    codes: torch.Tensor
    """uint8 (out, in), each below 2^bits."""
    scale: torch.Tensor
    """(out, groups), in the dtype that the layer computes in."""
    zero: torch.Tensor
    """uint8 (out, groups): the code that stands for 0."""
    bits: int

    def weight(self) -> torch.Tensor:
        """The weight matrix that the codes stand for: (out, in), in the scales' dtype."""
        groups = self.codes.reshape(*self.scale.shape, -1)
        scale, zero = self.scale.float()[..., None], self.zero.float()[..., None]
        return on_grid(groups, scale, zero).flatten(1).to(self.scale.dtype)

    def split(self, rows: Sequence[int]) -> list[Codes]:
        """The matrices of so many rows each that lie in it one below the other, in memory of their own."""
        tables = (torch.split(table, list(rows)) for table in (self.codes, self.scale, self.zero))
        return [
            Codes(codes.clone(), scale.clone(), zero.clone(), self.bits)
            for codes, scale, zero in zip(*tables, strict=True)
        ]


def on_grid(codes: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """The weights that `codes` stand for, float32; scale and zero are float32 and broadcast to them."""
    return (codes.float() - zero) * scale


def middle(bits: int) -> int:
    """The code in the middle of a grid of 2^bits."""
    return 1 << (bits - 1)


def symmetric(bits: int) -> bool:
    """Whether the zero is always the middle: at 8 bits, as the kernel for 8-bit rows has it."""
    return bits == 8


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (rows, columns) in as few bytes as hold them, lowest bits first: uint8 (rows, bytes).

    8 codes of 3 bits are 3 bytes, 2 of 4 bits one; the columns must fill whole bytes.
    """
    count, size = _word(bits)
    codes = codes.reshape(len(codes), -1, count).int()
    word = codes[..., 0]
    for place in range(1, count):
        word = word | codes[..., place] << (bits * place)
    return torch.stack([word >> (8 * place) & 255 for place in range(size)], -1).flatten(1).byte()


def unpack(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """What `pack` was given: uint8 (rows, columns)."""
    count, size = _word(bits)
    held = packed.reshape(len(packed), -1, size)
    if size > 1:
        held = held.int()
    word = held[..., 0]
    for place in range(1, size):
        word = word | held[..., place] << (8 * place)
    codes = [word >> (bits * place) & (2**bits - 1) for place in range(count)]
    return torch.stack(codes, -1).flatten(1).byte()


def _word(bits: int) -> tuple[int, int]:
    """The least number of codes that fill whole bytes, and those bytes."""
    return math.lcm(bits, 8) // bits, math.lcm(bits, 8) // 8


def words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (rows, columns) in as few words as hold a row of them: int32 (rows, words)."""
    columns = codes.shape[1]
    filled = pack(functional.pad(codes, (0, -columns % WORD)), bits).view(torch.int32)
    return filled[:, : _ceil(columns * bits, WORD)].contiguous()


def unwords(held: torch.Tensor, bits: int, columns: int) -> torch.Tensor:
    """What `words` was given: uint8 (rows, columns)."""
    filled = functional.pad(held, (0, -held.shape[1] % bits))
    return unpack(filled.contiguous().view(torch.uint8), bits)[:, :columns]


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


class PackedLinear(nn.Module):
    """A linear layer that makes its weights from packed codes anew for each product.

    Its tensors are those that a checkpoint has of it in the format ``pack-quantized`` of
    compressed-tensors (https://github.com/vllm-project/compressed-tensors): the codes of a row, and the
    zeros of a column of groups, one after another in words of 32 bits, lowest bits first.
    """

    operator = "linear"
    """The ATen operator that multiplies."""

    def __init__(self, codes: Codes, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.codes.shape
        self.bits = codes.bits
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self._hold(codes)

    def _hold(self, codes: Codes) -> None:
        self.weight_packed: torch.Tensor
        self.weight_scale: torch.Tensor
        self.weight_zero_point: torch.Tensor
        self.register_buffer("weight_packed", words(codes.codes, codes.bits))
        self.register_buffer("weight_scale", codes.scale.contiguous())
        if not symmetric(codes.bits):
            self.register_buffer(
                "weight_zero_point", words(codes.zero.T, codes.bits).T.contiguous()
            )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight_shape"] = torch.tensor([self.out_features, self.in_features])

    def _zero(self) -> torch.Tensor:
        """uint8 (out, groups)."""
        if symmetric(self.bits):
            return torch.full_like(self.weight_scale, middle(self.bits), dtype=torch.uint8)
        return unwords(self.weight_zero_point.T, self.bits, self.out_features).T

    def weight_now(self) -> torch.Tensor:
        """The weight matrix (out, in) that it multiplies by."""
        codes = unwords(self.weight_packed, self.bits, self.in_features)
        return Codes(codes, self.weight_scale, self._zero(), self.bits).weight()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Product of `inputs` (..., in) with the weights: (..., out)."""
        return functional.linear(inputs, self.weight_now(), self.bias)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"{self.in_features}, {self.out_features}, bits={self.bits}"


class _KernelLinear(PackedLinear, ABC):
    """A linear layer that multiplies by packed weights as they lie, in the kernel's own layout."""

    packed: torch.Tensor
    scale: torch.Tensor

    def weight_now(self) -> torch.Tensor:
        """The weight matrix (out, in), as the kernel itself sees it."""
        unit = torch.eye(self.in_features, dtype=self.scale.dtype, device=self.packed.device)
        return self._product(unit).T

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Product of `inputs` (..., in) with the weights: (..., out)."""
        product = self._product(inputs.reshape(-1, self.in_features))
        output = product.view(*inputs.shape[:-1], self.out_features)
        return output if self.bias is None else output + self.bias

    @abstractmethod
    def _product(self, inputs: torch.Tensor) -> torch.Tensor:
        """Product of rows (n, in) with the weights, without the bias: (n, out)."""


class Int4PackLinear(_KernelLinear):
    """PyTorch's product of bfloat16 with 4-bit weights, ``aten::_weight_int4pack_mm``."""

    def _hold(self, codes: Codes) -> None:
        ops, on_cpu = torch.ops.aten, codes.codes.device.type == "cpu"
        self.group = self.in_features // codes.scale.shape[1]
        self.operator = "_weight_int4pack_mm" + "_for_cpu" * on_cpu
        if on_cpu:
            packed = ops._convert_weight_to_int4pack_for_cpu(codes.codes.int(), 1)
        else:
            pairs = codes.codes[:, ::2] << 4 | codes.codes[:, 1::2]
            packed = ops._convert_weight_to_int4pack(pairs.contiguous(), _tiles(self.in_features))
        self.register_buffer("packed", packed)
        # It multiplies by scale * (code - middle) + shift. The grid is such that no shift is rounded.
        shift = (middle(4) - codes.zero.float()) * codes.scale.float()
        table = torch.stack([codes.scale.T, shift.T.to(codes.scale.dtype)], -1)
        self.register_buffer("scale", table.contiguous())

    def _product(self, inputs: torch.Tensor) -> torch.Tensor:
        multiply = getattr(torch.ops.aten, self.operator)
        product: torch.Tensor = multiply(inputs, self.packed, self.group, self.scale)
        return product


class Int8PackLinear(_KernelLinear):
    """PyTorch's product of bfloat16 with 8-bit rows, ``aten::_weight_int8pack_mm``; zero is the middle."""

    operator = "_weight_int8pack_mm"

    def _hold(self, codes: Codes) -> None:
        self.register_buffer("packed", (codes.codes.int() - middle(8)).char())
        self.register_buffer("scale", codes.scale[:, 0].contiguous())

    def _product(self, inputs: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.aten._weight_int8pack_mm(inputs, self.packed, self.scale)
        return product


LINEARS: dict[str, type[PackedLinear]] = {
    "int4pack": Int4PackLinear,
    "int8pack": Int8PackLinear,
    "dequantize": PackedLinear,
}
"""The layer for each kernel, by the name that records give it."""


def kernel_for(weight: torch.Tensor, bits: int, group: int) -> str:
    """Which of LINEARS multiplies by `weight` once it is quantized to `bits` in groups of `group`.

    PyTorch's kernels take bfloat16. For 4 bits there is one on the CPU and on CUDA (compute capability
    8.0); for 8 bits, one on the CPU for a single group a row.
    """
    if weight.dtype is not torch.bfloat16:
        return "dequantize"
    if bits == 8 and group == weight.shape[1] and _fast_cpu(weight.device):
        return "int8pack"
    if bits == 4 and group in INT4_GROUPS and _has_int4(weight):
        return "int4pack"
    return "dequantize"


def _has_int4(weight: torch.Tensor) -> bool:
    rows, columns = weight.shape
    if weight.is_cuda:
        new = torch.cuda.get_device_capability(weight.device) >= (8, 0)
        return new and rows % 8 == 0 and columns % 32 == 0
    return _fast_cpu(weight.device) and rows % 16 == 0


def _fast_cpu(device: torch.device) -> bool:
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in FAST_CPU


def _tiles(columns: int) -> int:
    """Inner tiles of 16 columns that the CUDA layout interleaves: as many as divide them, of 8, 4, 2."""
    return next(tiles for tiles in (8, 4, 2) if columns % (16 * tiles) == 0)
