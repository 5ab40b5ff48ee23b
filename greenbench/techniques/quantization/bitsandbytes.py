"""Weight quantization by bitsandbytes, on the loaded model, so that it stacks with what changed it."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.quantization.linear_layers import (
    bytes_ratio,
    replace_linears,
    require_shape,
)
from greenbench.techniques.shared.linear_views import linear_blueprint
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

BLOCK, ROWS = 64, 32
"""4-bit weights share a scale in blocks; the CPU's kernel takes rows in groups."""


class _Bitsandbytes(ModelEdit):
    """What the bitsandbytes techniques share."""

    packages: ClassVar[tuple[str, ...]] = ("bitsandbytes",)
    bits: ClassVar[float]

    def traits(self) -> Traits:
        """It packs plain weights."""
        return Traits(
            on_linears=True, needs_plain_weights=True, packs_weights=True, breaks_graphs=True
        )

    def check(self, machine: Machine, engine: Engine) -> None:
        """bitsandbytes has CUDA kernels from compute capability 6.0 and plain ones for the CPU."""
        if find_spec("bitsandbytes") is None:
            raise Unsupported(
                f"{self.name} needs the package bitsandbytes: pip install bitsandbytes."
            )
        if machine.capability is not None and machine.capability < (6, 0):
            raise Unsupported(
                f"{self.name} needs compute capability 6.0 or newer, {machine.device_name} has "
                f"{'.'.join(map(str, machine.capability))}: run it on a newer GPU or with device=cpu."
            )

    def promise(self, model: Any) -> Promise:
        """Bytes of the linear layers shrink to the stored bits; embeddings and norms stay."""
        return Promise(
            bytes_ratio=bytes_ratio(model, lambda layer: layer.weight.numel() * self.bits / 8),
            kernel=self._kernel(model.device),
            note=f"{8 * model.dtype.itemsize} to {self.bits:g} bits a weight in the linear layers",
        )

    @abstractmethod
    def _kernel(self, device: torch.device) -> str:
        """What multiplies by the packed weights."""


@dataclass(frozen=True)
class Int8(_Bitsandbytes):
    """LLM.int8(): int8 weights and activations, outlier features in 16 bits (arXiv 2208.07339)."""

    name: ClassVar[str] = "int8_bnb"
    summary: ClassVar[str] = "LLM.int8(): int8 matrix products, outlier features in 16 bits"
    paper: ClassVar[str | None] = "arXiv:2208.07339"
    bits: ClassVar[float] = 8

    threshold: float = 6.0
    """Magnitude from which an activation feature counts as an outlier; 0: no outliers."""

    def _kernel(self, device: torch.device) -> str:
        """Without AVX-512 a CPU multiplies in floating point."""
        integer = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
        return "int8_matmul" if integer else "dequantize"

    def __post_init__(self) -> None:
        require(self.threshold >= 0, "technique.int8_bnb.threshold", self.threshold, "0 or more")

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Replace the linear layers; bitsandbytes quantizes a weight as it arrives on the device."""
        from bitsandbytes.nn import Int8Params, Linear8bitLt

        class Rows(Linear8bitLt):  # type: ignore[misc]
            """bitsandbytes makes rows of 3 dimensions only; DeepSeek's latent attention has 4."""

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                rows = super().forward(x.flatten(0, -2))
                return rows.unflatten(0, x.shape[:-1])  # type: ignore[no-any-return]

        # It says at every layer of every step that bfloat16 goes through float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)

        def convert(layer: nn.Linear) -> nn.Module:
            new = Rows(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                has_fp16_weights=False,
                threshold=self.threshold,
            )
            new.weight = Int8Params(
                layer.weight.data.cpu(), requires_grad=False, has_fp16_weights=False
            )
            new.bias = layer.bias
            return new.to(layer.weight.device)  # type: ignore[no-any-return]

        work.details["linear_layers"] = replace_linears(model, convert)
        return Edited(model)


@dataclass(frozen=True)
class Int4(_Bitsandbytes):
    """4-bit weights in blocks, computed in the model's dtype (QLoRA, arXiv 2305.14314)."""

    name: ClassVar[str] = "int4_bnb"
    summary: ClassVar[str] = "4-bit weights (NF4 or FP4) in blocks, dequantized for each product"
    paper: ClassVar[str | None] = "arXiv:2305.14314"

    quant_type: str = "nf4"
    double_quant: bool = False
    """Quantize the blocks' scales as well."""

    def __post_init__(self) -> None:
        require_choice(self.quant_type, "technique.int4_bnb.quant_type", ("nf4", "fp4"))

    def _kernel(self, device: torch.device) -> str:
        """Its fused product for one row is for GPUs; more rows are expanded there too."""
        return "gemv_4bit" if device.type == "cuda" else "dequantize"

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Every linear layer must have a shape that the kernels take."""
        self._fit(linear_blueprint(config))

    def _fit(self, model: Any) -> None:
        """Blocks are taken to fill rows: on a CPU other widths give wrong numbers without a word."""
        require_shape(self.name, model, outputs=ROWS, inputs=BLOCK)

    @property
    def bits(self) -> float:  # type: ignore[override]
        """4 and a share of the scales: 32 bits per 64 weights, or 8 and 32 per 256 scales."""
        return 4 + (8 / 64 + 32 / (64 * 256) if self.double_quant else 32 / 64)

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Replace the linear layers; bitsandbytes quantizes a weight as it arrives on the device."""
        from bitsandbytes.nn import Linear4bit, Params4bit

        self._fit(model)  # techniques before this one may have changed its shape
        compute: torch.dtype = model.dtype
        options = {"quant_type": self.quant_type, "compress_statistics": self.double_quant}

        def convert(layer: nn.Linear) -> nn.Module:
            new = Linear4bit(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                compute_dtype=compute,
                **options,
            )
            new.weight = Params4bit(layer.weight.data.cpu(), requires_grad=False, **options)
            new.bias = layer.bias
            return new.to(layer.weight.device)  # type: ignore[no-any-return]

        work.details["linear_layers"] = replace_linears(model, convert)
        return Edited(model)
