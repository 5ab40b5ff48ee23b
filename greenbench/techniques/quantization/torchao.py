"""Weight and activation quantization by torchao, on the loaded model, so that it stacks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.quantization.linear_layers import (
    bytes_ratio,
    linears,
    require_multiple,
    require_package,
    require_shape,
)
from greenbench.techniques.shared.linear_views import linear_blueprint
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

SCALE_BYTES, ZERO_BYTES = 4, 1  # torchao's int8 keeps a float32 scale and an int8 zero for each row
ROWS = 17
"""torch's integer product on CUDA takes no fewer."""
ON_CUDA = (
    "; on CUDA torchao waits for the GPU in every product, and multiplies "
    f"{ROWS - 1} tokens or fewer in float32"
)
"""As its ``safe_int_mm`` does, unless it is compiled."""
TILE = 1024  # the CUDA kernel for int4 pads a layer's inputs to a multiple of this


class _Torchao(ModelEdit):
    """What the torchao techniques share: they replace weights by tensors that know their product."""

    packages: ClassVar[tuple[str, ...]] = ("torchao",)

    def traits(self) -> Traits:
        """It packs plain weights."""
        return Traits(on_linears=True, needs_plain_weights=True, packs_weights=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """The package must be there."""
        require_package(self.name, "torchao", "torchao")

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Every linear layer must have a shape that the kernel takes."""
        self._fit(linear_blueprint(config))

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Quantize the linear layers but the head, on the device where they are."""
        from torchao.quantization import quantize_

        self._fit(model)  # techniques before this one may have changed its shape
        chosen = {id(layer) for layer in linears(model).values()}
        quantize_(model, self._config(model.device), lambda module, _: id(module) in chosen)
        work.details["linear_layers"] = len(chosen)
        return Edited(model)

    @abstractmethod
    def _config(self, device: torch.device) -> Any:
        """torchao's own description of the change."""

    def _fit(self, model: Any) -> None:  # most take any shape
        """Raise UserError where a linear layer of `model`, weights or none, does not suit the kernel."""


@dataclass(frozen=True)
class Int8WeightOnly(_Torchao):
    """int8 weights, one scale a row or a group, cast to the activations' type for each product."""

    name: ClassVar[str] = "int8_torchao"
    summary: ClassVar[str] = "int8 weights, dequantized for each product"
    paper: ClassVar[str | None] = "arXiv:2507.16099"

    group_size: int = 0
    """Inputs that share a scale; 0: all of a row."""

    def __post_init__(self) -> None:
        require(
            self.group_size >= 0, "technique.int8_torchao.group_size", self.group_size, "0 or more"
        )

    def promise(self, model: Any) -> Promise:
        """8 bits a weight, and the scales; the product itself stays as it was."""
        return Promise(
            bytes_ratio=bytes_ratio(model, lambda layer: _int8_bytes(layer, self.group_size)),
            kernel="dequantize",
            note=f"{8 * model.dtype.itemsize} to 8 bits a weight in the linear layers",
        )

    def _config(self, device: torch.device) -> Any:
        from torchao.quantization import Int8WeightOnlyConfig, PerGroup, PerRow

        granularity = PerGroup(self.group_size) if self.group_size else PerRow()
        return Int8WeightOnlyConfig(granularity=granularity)

    def _fit(self, model: Any) -> None:
        if self.group_size:
            require_multiple(model, self.group_size, "technique.int8_torchao.group_size")


@dataclass(frozen=True)
class Int8Dynamic(_Torchao):
    """int8 weights by row, and activations rounded to int8 token by token as they come."""

    name: ClassVar[str] = "int8dyn_torchao"
    summary: ClassVar[str] = "int8 weights and activations, multiplied as integers"
    paper: ClassVar[str | None] = "arXiv:2507.16099"

    activations: str = "symmetric"
    """Range of a token's activations: symmetric around 0, or from their least to their greatest."""

    def __post_init__(self) -> None:
        key = "technique.int8dyn_torchao.activations"
        require_choice(self.activations, key, ("symmetric", "asymmetric"))

    def traits(self) -> Traits:
        """Compiled, it leaves out what torchao else does with few rows."""
        return replace(super().traits(), compiled_rows=ROWS)

    def promise(self, model: Any) -> Promise:
        """8 bits a weight, and the scales; products of integers, where the device has them."""
        return Promise(
            bytes_ratio=bytes_ratio(model, lambda layer: _int8_bytes(layer, 0)),
            kernel="int8",
            note=f"{8 * model.dtype.itemsize} to 8 bits a weight in the linear layers, "
            "8 bits an activation" + (ON_CUDA if model.device.type == "cuda" else ""),
        )

    def _config(self, device: torch.device) -> Any:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig
        from torchao.quantization.quant_primitives import MappingType
        from torchao.utils import should_reduce_range

        return Int8DynamicActivationInt8WeightConfig(
            act_mapping_type=MappingType[self.activations.upper()],
            reduce_range=should_reduce_range(device),  # an old CPU's int16 sums would overflow
        )


@dataclass(frozen=True)
class Int4WeightOnly(_Torchao):
    """4-bit weights in groups, multiplied by the tinygemm kernels of the CPU and of CUDA."""

    name: ClassVar[str] = "int4_torchao"
    summary: ClassVar[str] = "4-bit weights in groups, multiplied by a kernel of their own"
    paper: ClassVar[str | None] = "arXiv:2507.16099"

    group_size: int = 64
    """Inputs that share a scale and a zero."""
    algorithm: str = "tinygemm"
    """How scales are chosen: by least and greatest weight, or by half-quadratic search (hqq)."""

    def __post_init__(self) -> None:
        sizes = (32, 64, 128)
        require(
            self.group_size in sizes,
            "technique.int4_torchao.group_size",
            self.group_size,
            "one of 32, 64, 128",
        )
        require_choice(self.algorithm, "technique.int4_torchao.algorithm", ("tinygemm", "hqq"))

    def check(self, machine: Machine, engine: Engine) -> None:
        """The CUDA kernel needs tensor cores for bfloat16."""
        super().check(machine, engine)
        _require_capability(self.name, machine, (8, 0))

    def promise(self, model: Any) -> Promise:
        """4 bits a weight, and a scale and a zero for each group; CUDA pads what it packs."""
        if model.device.type == "cuda":
            _require_bfloat16(self.name, model)
        return Promise(
            bytes_ratio=bytes_ratio(model, self._bytes),
            kernel="tinygemm",
            note=f"{8 * model.dtype.itemsize} to 4 bits a weight in the linear layers, "
            f"in groups of {self.group_size}",
        )

    def _config(self, device: torch.device) -> Any:
        from torchao.prototype.quantization.int4.inference_workflow import (
            PrototypeInt4WeightOnlyConfig,
        )
        from torchao.quantization import Int4WeightOnlyConfig

        options = {
            "group_size": self.group_size,
            "int4_choose_qparams_algorithm": self.algorithm,
        }
        if device.type == "cpu":
            return PrototypeInt4WeightOnlyConfig(**options)
        return Int4WeightOnlyConfig(int4_packing_format="tile_packed_to_4d", **options)

    def _fit(self, model: Any) -> None:
        require_multiple(model, self.group_size, "technique.int4_torchao.group_size")
        require_shape(self.name, model, outputs=16, inputs=1)

    def _bytes(self, layer: nn.Linear) -> float:
        inputs, outputs = layer.in_features, layer.out_features
        if layer.weight.device.type == "cuda":
            inputs = -(-inputs // TILE) * TILE
        each = 0.5 + 2 * layer.weight.itemsize / self.group_size
        return inputs * outputs * each


@dataclass(frozen=True)
class Float8(_Torchao):
    """float8 (e4m3) weights and activations, multiplied as such by tensor cores."""

    name: ClassVar[str] = "float8_torchao"
    summary: ClassVar[str] = "float8 weights and activations, multiplied as such"
    paper: ClassVar[str | None] = "arXiv:2209.05433"

    granularity: str = "row"
    """What shares a scale: a row (and a token), or a whole tensor."""

    def __post_init__(self) -> None:
        key = "technique.float8_torchao.granularity"
        require_choice(self.granularity, key, ("row", "tensor"))

    def check(self, machine: Machine, engine: Engine) -> None:
        """Only tensor cores from compute capability 8.9 multiply float8."""
        super().check(machine, engine)
        if machine.capability is None:
            raise Unsupported(
                f"{self.name} needs a CUDA GPU of compute capability 8.9 or newer, which "
                "multiplies float8, and this run is on a CPU: choose int8_torchao or float8_quanto."
            )
        _require_capability(self.name, machine, (8, 9))

    def promise(self, model: Any) -> Promise:
        """8 bits a weight, and the scales."""
        if self.granularity == "row":
            _require_bfloat16(self.name, model)
        return Promise(
            bytes_ratio=bytes_ratio(model, self._bytes),
            kernel="float8",
            note=f"{8 * model.dtype.itemsize} to 8 bits a weight in the linear layers, "
            "8 bits an activation",
        )

    def _config(self, device: torch.device) -> Any:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            PerRow,
            PerTensor,
        )

        granularity = PerRow() if self.granularity == "row" else PerTensor()
        return Float8DynamicActivationFloat8WeightConfig(granularity=granularity)

    def _fit(self, model: Any) -> None:
        require_shape(self.name, model, outputs=16, inputs=16)

    def _bytes(self, layer: nn.Linear) -> float:
        scales = layer.out_features if self.granularity == "row" else 1
        return layer.weight.numel() + SCALE_BYTES * scales


def _int8_bytes(layer: nn.Linear, group_size: int) -> float:
    groups = layer.weight.numel() // (group_size or layer.in_features)
    return layer.weight.numel() + (SCALE_BYTES + ZERO_BYTES) * groups


def _require_capability(name: str, machine: Machine, least: tuple[int, int]) -> None:
    if machine.capability is not None and machine.capability < least:
        raise Unsupported(
            f"{name} needs compute capability {least[0]}.{least[1]} or newer, "
            f"{machine.device_name} has {'.'.join(map(str, machine.capability))}: "
            "run it on a newer GPU or choose int8_torchao."
        )


def _require_bfloat16(name: str, model: Any) -> None:
    if model.dtype is not torch.bfloat16:
        raise UserError(
            f"technique={name} multiplies bfloat16 activations only, and the model is in "
            f"{str(model.dtype).removeprefix('torch.')}: say model.dtype=bfloat16."
        )
