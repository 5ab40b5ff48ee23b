"""Weight quantization by optimum-quanto, on the loaded model, so that it stacks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Engine
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.quantization.linear_layers import (
    blueprint,
    bytes_ratio,
    linears,
    replace_linears,
    require_multiple,
    require_package,
)
from greenbench.techniques.quantization.quanto_kernels import load_kernels, require_compilers
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

GROUPS = (128, 96, 64, 32)  # quanto's own preference


class QuantoLinear(nn.Module):
    """A linear layer whose weight quanto has packed.

    quanto's own layer transposes the packed weight, which inference mode forbids for some of its
    tensors; expanding it first is the same product.
    """

    def __init__(self, weight: torch.Tensor, bias: nn.Parameter | None, *, fused: bool) -> None:
        """`fused`: quanto has a kernel that multiplies by the packed weight."""
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.out_features, self.in_features = weight.shape
        self.bias = bias
        self._fused = fused

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Shapes (..., inputs) to (..., outputs)."""
        weight: Any = self.weight
        return nn.functional.linear(
            hidden, weight if self._fused else weight.dequantize(), self.bias
        )


class _Quanto(ModelEdit):
    """What the quanto techniques share."""

    packages: ClassVar[tuple[str, ...]] = ("optimum-quanto",)

    def traits(self) -> Traits:
        """It packs plain weights."""
        return Traits(needs_plain_weights=True, packs_weights=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """The package must be there; it runs on any device."""
        require_package(self.name, "optimum-quanto", "optimum.quanto")

    def promise(self, model: Any) -> Promise:
        """Bytes of the linear layers shrink to the stored bits and scales."""
        layers = linears(model).values()
        fused = sum(self._fused(layer) for layer in layers)
        by_kernel = f", {fused} of {len(layers)} layers by {self._kernel()}" if fused else ""
        return Promise(
            bytes_ratio=bytes_ratio(model, self._bytes),
            kernel=self._kernel() if fused == len(layers) else "dequantize",
            note=f"{8 * model.dtype.itemsize} to {self._bits()} bits a weight in the linear layers"
            + by_kernel,
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Replace the linear layers but the head, on the device where they are."""

        def convert(layer: nn.Linear) -> nn.Module:
            return QuantoLinear(self._pack(layer), layer.bias, fused=self._fused(layer))

        # Tensors made in inference mode cannot be packed.
        with torch.inference_mode(False), torch.no_grad():
            work.details["linear_layers"] = replace_linears(model, convert)
        return Edited(model)

    @abstractmethod
    def _bits(self) -> int:
        """Of one weight."""

    @abstractmethod
    def _pack(self, layer: nn.Linear) -> torch.Tensor:
        """The layer's weight as quanto holds it."""

    @abstractmethod
    def _bytes(self, layer: nn.Linear) -> float:
        """What the packed weight takes."""

    def _fused(self, layer: nn.Linear) -> bool:
        """Whether a kernel multiplies by the packed weight, which is not expanded then."""
        return False

    def _kernel(self) -> str:
        return "dequantize"


class _Quanto8(_Quanto):
    """8-bit weights with one scale a row, in the weights' own type."""

    qtype: ClassVar[str]

    def _bits(self) -> int:
        return 8

    def _pack(self, layer: nn.Linear) -> torch.Tensor:
        from optimum.quanto import AbsmaxOptimizer, qtypes, quantize_weight

        qtype = qtypes[self.qtype]
        scale = AbsmaxOptimizer()(layer.weight, qtype, 0)
        # quanto's own CUDA kernels are compiled on first use, which needs a compiler: not those.
        packed: torch.Tensor = quantize_weight(layer.weight, qtype, 0, scale, optimized=False)
        return packed

    def _bytes(self, layer: nn.Linear) -> float:
        return layer.weight.numel() + layer.out_features * layer.weight.itemsize


@dataclass(frozen=True)
class Int8Quanto(_Quanto8):
    """int8 weights; bfloat16 activations on a CPU have a kernel for them."""

    name: ClassVar[str] = "int8_quanto"
    summary: ClassVar[str] = "int8 weights, one scale a row"
    qtype: ClassVar[str] = "qint8"

    def _fused(self, layer: nn.Linear) -> bool:
        weight = layer.weight
        return weight.device.type == "cpu" and weight.dtype is torch.bfloat16

    def _kernel(self) -> str:
        return "int8pack"


@dataclass(frozen=True)
class Float8Quanto(_Quanto8):
    """float8 (e4m3) weights, expanded for each product on every device (arXiv 2209.05433)."""

    name: ClassVar[str] = "float8_quanto"
    summary: ClassVar[str] = "float8 weights, dequantized for each product"
    paper: ClassVar[str | None] = "arXiv:2209.05433"
    qtype: ClassVar[str] = "qfloat8"


@dataclass(frozen=True)
class Int4Quanto(_Quanto):
    """4-bit weights in groups, each with a scale and a zero."""

    name: ClassVar[str] = "int4_quanto"
    summary: ClassVar[str] = "4-bit weights in groups, each with a scale and a zero"

    group_size: int | None = None
    """Inputs that share a scale; null: for each layer the largest of 128, 96, 64 and 32 that
    divides its inputs, or else all of them, as quanto itself chooses."""

    def __post_init__(self) -> None:
        key = "technique.int4_quanto.group_size"
        require(self.group_size is None or self.group_size >= 1, key, self.group_size, "1 or more")

    def traits(self) -> Traits:
        """Code that torch does not know unpacks them."""
        return replace(super().traits(), traceable=False)

    def check(self, machine: Machine, engine: Engine) -> None:
        """Unlike 8 bits, 4 are unpacked by code that quanto compiles."""
        super().check(machine, engine)
        require_compilers(self.name, machine)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Groups must divide each layer's inputs."""
        self._fit(blueprint(config))

    def install(self, device: torch.device) -> None:
        """quanto's code, which unpacks."""
        load_kernels(device)

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Replace the linear layers but the head, and keep the group sizes."""
        self.install(work.device)
        self._fit(model)  # techniques before this one may have changed its shape
        layers = linears(model).values()
        work.details["group_sizes"] = sorted({self._group(layer) for layer in layers})
        return super().edit(model, work)

    def _fit(self, model: Any) -> None:
        if self.group_size is not None:
            require_multiple(model, self.group_size, "technique.int4_quanto.group_size")

    def _group(self, layer: nn.Linear) -> int:
        inputs = layer.in_features
        return self.group_size or next((g for g in GROUPS if inputs % g == 0), inputs)

    def _bits(self) -> int:
        return 4

    def _pack(self, layer: nn.Linear) -> torch.Tensor:
        from optimum.quanto import MaxOptimizer, qint4, quantize_weight

        group = self._group(layer)
        scale, zero = MaxOptimizer()(layer.weight, qint4, 0, group)
        packed: torch.Tensor = quantize_weight(
            layer.weight, qint4, 0, scale, zero, group, optimized=self._fused(layer)
        )
        return packed

    def _bytes(self, layer: nn.Linear) -> float:
        each = 0.5 + 2 * layer.weight.itemsize / self._group(layer)
        return layer.weight.numel() * each

    def _fused(self, layer: nn.Linear) -> bool:
        """Where quanto packs for torch's tinygemm: bfloat16, groups of 128, no old GPU."""
        weight = layer.weight
        on_cpu = weight.device.type == "cpu"
        modern = on_cpu or torch.cuda.get_device_capability(weight.device) >= (8, 0)
        suits = weight.dtype is torch.bfloat16 and self._group(layer) == 128
        return suits and modern and layer.out_features % 16 == 0

    def _kernel(self) -> str:
        return "tinygemm"
