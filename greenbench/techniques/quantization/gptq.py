"""GPTQ: weights rounded column by column, the rest of each row making up for what rounding costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import nn

from greenbench.engines.engine import Form
from greenbench.errors import UserError
from greenbench.models.packing import Packing, described
from greenbench.models.parts import positions
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.quantization.packed_linear import (
    LINEARS,
    Codes,
    PackedLinear,
    kernel_for,
    middle,
    symmetric,
)
from greenbench.techniques.shared.column_solver import (
    block_width,
    inverse_factor,
    settle_columns,
)
from greenbench.techniques.shared.layerwise import (
    Gram,
    Visit,
    require_calibration,
    text_size,
    token_batches,
    visits,
)
from greenbench.techniques.shared.linear_views import block_linears, linear_blueprint
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

DIGITS = (0, 0, 0, 2, 0, 3, 2, 3, 0)
"""Binary digits that a product with 0 to 8 has more than the other factor."""


@dataclass(frozen=True)
class Gptq(ModelEdit):
    """Quantize the linear layers of the blocks to 3, 4 or 8 bits (GPTQ, arXiv 2210.17323)."""

    name: ClassVar[str] = "gptq"
    summary: ClassVar[str] = "weights rounded so that each layer's output stays near (GPTQ)"
    paper: ClassVar[str | None] = "arXiv:2210.17323"
    form: ClassVar[Form] = "packed"

    bits: int = 4
    group_size: int = 64
    """Inputs that share a scale; 0: all of a row. The usual 128 divides no layer of 576 inputs."""
    act_order: bool = True
    """Round the weights of the inputs that matter most first, on grids set beforehand, so that no
    product has to reorder its inputs: it costs nothing at inference."""
    percdamp: float = 0.01
    """Damping of the Hessian, as a share of its mean diagonal."""
    passages: int | None = None
    """Calibration passages; null: 128 on a GPU, 32 on a CPU."""
    tokens: int | None = None
    """Tokens used of each, as far as the model reads; above 512, texts are joined to make as many. Null:
    2048 on a GPU, 256 on a CPU."""

    def __post_init__(self) -> None:
        require_choice(str(self.bits), "technique.gptq.bits", ("3", "4", "8"))
        require(self.group_size >= 0, "technique.gptq.group_size", self.group_size, "0 or more")
        key = "technique.gptq.percdamp"
        require(0 < self.percdamp <= 1, key, self.percdamp, "above 0, at most 1")
        require_calibration(self.name, self.passages, self.tokens)

    def settled(self, device: str) -> Self:
        """With as much text as the paper takes, where that is not a matter of hours."""
        passages, tokens = text_size(self.passages, self.tokens, device)
        return replace(self, passages=passages, tokens=tokens)

    def traits(self) -> Traits:
        """It packs plain weights."""
        return Traits(on_linears=True, needs_plain_weights=True, packs_weights=True, keeps=True)

    def packing(self) -> Packing:
        """As checkpoints say it."""
        return Packing(self.bits, self.group_size, symmetric(self.bits))

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Groups must fill each row, and packed rows whole bytes."""
        self._require_groups(layer.in_features for layer in block_linears(linear_blueprint(config)))

    def promise(self, model: Any) -> Promise:
        """Bytes shrink to the bits, a scale and (but at 8 bits) a zero a group; products do not."""
        layers = block_linears(model)
        self._require_groups(layer.in_features for layer in layers)
        total = sum(weight.nbytes for weight in model.parameters())
        saved = sum(layer.weight.nbytes - self._packed_bytes(layer) for layer in layers)
        kernels = sorted({self._kernel(layer) for layer in layers})
        spread = f"groups of {self.group_size}" if self.group_size else "one group a row"
        return Promise(
            bytes_ratio=1 - saved / total,
            flops_ratio=1.0,
            kernel=", ".join(kernels),
            note=f"{self.bits} bits a weight, {spread}",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Quantize block after block, each on what the quantized blocks before it give.

        That is what this process's kernels give, whoever gets the codes: they are the same for all.
        """
        kernels: Counter[str] = Counter()
        operators: Counter[str] = Counter()
        shipped: list[tuple[nn.Module, str, PackedLinear]] = []
        for visit in visits(model, self._batches(model, work), Gram, progress=work.progress):
            for name, codes in self._quantized(visit):
                layer = visit.linears[name]
                kernel = self._kernel(layer)
                packed = LINEARS[kernel](codes, layer.bias)
                visit.block.set_submodule(name, packed)
                kernels[kernel] += 1
                operators[packed.operator] += 1
                if work.leaves == "packed":
                    shipped.append((visit.block, name, PackedLinear(codes, layer.bias)))
        if work.leaves == "packed":
            _let_be_saved(model, shipped, self.packing())
        else:
            work.details.update(kernels=dict(kernels), operators=dict(operators))
        return Edited(model)

    def _batches(self, model: Any, work: Preparation) -> list[torch.Tensor]:
        """The text, and how much of it there is, for the record."""
        passages, tokens = text_size(self.passages, self.tokens, work.device.type)
        batches = token_batches(work, passages, min(tokens, positions(model.config) or tokens))
        work.details["calibration"] = {
            "passages": len(batches),
            "tokens": sum(batch.numel() for batch in batches),
        }
        return batches

    def _quantized(self, visit: Visit[Gram]) -> Iterator[tuple[str, Codes]]:
        """Each layer of a block by its name. Those with the same inputs are one matrix to GPTQ, which knows
        rows only one by one."""
        for names in visit.alike():
            weights = [visit.linears[name].weight.detach() for name in names]
            gram = visit.seen[names[0]].matrix
            group = self.group_size or len(gram)
            codes = gptq(
                torch.cat(weights), gram, self.bits, group, self.percdamp, act_order=self.act_order
            )
            yield from zip(names, codes.split([len(weight) for weight in weights]), strict=True)

    def _kernel(self, layer: nn.Linear) -> str:
        return kernel_for(layer.weight, self.bits, self.group_size or layer.in_features)

    def _packed_bytes(self, layer: nn.Linear) -> float:
        groups = layer.in_features // (self.group_size or layer.in_features)
        size = layer.weight.itemsize
        zero = size if self._kernel(layer) == "int4pack" else self.bits / 8
        tables = groups * layer.out_features * (size + (0 if symmetric(self.bits) else zero))
        return layer.in_features * layer.out_features * self.bits / 8 + tables

    def _require_groups(self, widths: Iterable[int]) -> None:
        for width in widths:
            if self.group_size and width % self.group_size:
                raise UserError(
                    f"technique.gptq.group_size={self.group_size} does not divide the {width} inputs "
                    "of some of this model's linear layers: choose a divisor, such as "
                    f"{_divisor(width)}, or 0 for one group a row."
                )
            if self.bits == 3 and width % 8:
                raise UserError(
                    f"technique.gptq.bits=3 packs 8 weights at a time, which does not suit the {width} "
                    "inputs of some of this model's linear layers: say bits=4."
                )


def _let_be_saved(
    model: Any, layers: Sequence[tuple[nn.Module, str, PackedLinear]], packing: Packing
) -> None:
    """Put in place the layers whose tensors are a checkpoint's, and say so in the configuration."""
    for block, name, layer in layers:
        block.set_submodule(name, layer)
    plain = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    model.config.quantization_config = described(packing, plain)


def gptq(
    weight: torch.Tensor,
    gram: torch.Tensor,
    bits: int,
    group: int,
    percdamp: float,
    *,
    act_order: bool = False,
) -> Codes:
    """`weight` (out, in) as codes that keep ``weight @ inputs`` near; `gram` is inputs @ inputs^T.

    A group's grid is set when its first column is reached, from the weights as they then are (GPTQ,
    sec. 4); with `act_order`, beforehand. Four operations settle a column, which `settle_columns` says why:
    a code less its zero is kept, and all of them become codes at once.
    """
    count, dtype, top = weight.shape[1], weight.dtype, 2**bits - 1
    by_place = torch.arange(count, device=weight.device)
    order = gram.diagonal().argsort(descending=True) if act_order else by_place
    groups = (order // group).tolist()
    scale, zero = _by_group(grid(weight.detach().reshape(len(weight), -1, group), bits, dtype))
    grids = list(zip(scale, -zero, top - zero, strict=True))
    values = torch.empty(len(weight), dtype=dtype, device=weight.device)
    steps: list[torch.Tensor] = []

    def settle(current: torch.Tensor, column: int) -> torch.Tensor:
        mine = groups[column]
        if not act_order and column % group == 0:
            scale[mine], zero[mine] = grid(current[column : column + group].T, bits, dtype)
            grids[mine] = scale[mine], -zero[mine], top - zero[mine]
        step, low, high = grids[mine]
        steps.append((current[column] / step).round_().clamp_(low, high))
        return torch.mul(steps[-1], step, out=values)

    factor = inverse_factor(gram[order][:, order], percdamp)
    settle_columns(weight[:, order], factor, block_width(group), settle)
    codes = torch.empty(count, len(weight), dtype=torch.uint8, device=weight.device)
    codes[order] = (torch.stack(steps) + zero[order // group]).byte()
    return Codes(codes.T.contiguous(), scale.T.to(dtype), zero.T.byte(), bits)


def _by_group(tables: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zeros (out, groups) as (groups, out), float32: one cast and stride for all columns."""
    scale, zero = (table.float().T.contiguous() for table in tables)
    return scale, zero


def rounded(weight: torch.Tensor, bits: int, group: int) -> Codes:
    """`weight` (out, in) rounded to the nearest codes: what GPTQ is to be better than."""
    groups = weight.detach().reshape(len(weight), -1, group)
    scale, zero = grid(groups, bits, weight.dtype)
    codes = nearest(groups.float(), scale[..., None], zero[..., None], bits).flatten(1)
    return Codes(codes, scale, zero, bits)


def grid(weights: torch.Tensor, bits: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale, in `dtype`, and zero, uint8, that span the last dimension of `weights`: 0 is on the grid.

    At 8 bits it is symmetric, as the kernel for 8-bit rows has it.
    """
    weights, top = weights.float(), 2**bits - 1
    if symmetric(bits):
        scale = _positive(weights.abs().amax(-1) / (middle(8) - 1)).to(dtype)
        return scale, torch.full_like(scale, middle(8), dtype=torch.uint8)
    low, high = weights.amin(-1).clamp(max=0), weights.amax(-1).clamp(min=0)
    scale = _positive((high - low) / top).to(dtype)
    zero = (-low / scale.float()).round().clamp(0, top)
    return _shiftable(scale, middle(bits) - zero), zero.byte()


def _shiftable(scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """`scale`, rounded up just so far that ``shift * scale`` is exact in its dtype.

    The kernel for 4 bits holds that product in place of the zero: so it multiplies by the same weights as
    whoever reads the zero from a checkpoint. Grids with a zero near the middle, which are most, stay.
    """
    digits = 1 - round(math.log2(torch.finfo(scale.dtype).eps))
    kept = digits - torch.tensor(DIGITS, device=scale.device)[shift.abs().long()]
    fraction, exponent = torch.frexp(scale.float())
    return torch.ldexp(torch.ceil(torch.ldexp(fraction, kept)), exponent - kept).to(scale.dtype)


def nearest(
    weights: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, bits: int
) -> torch.Tensor:
    """The codes, uint8, nearest to `weights`, which scale and zero broadcast to."""
    steps = (weights / scale.float()).round() + zero.float()
    return steps.clamp(0, 2**bits - 1).byte()


def _positive(scale: torch.Tensor) -> torch.Tensor:
    """A group of nothing but zeros has any scale but 0."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _divisor(width: int) -> int:
    """The largest power of two, up to 128, that divides `width`."""
    return next(size for size in (128, 64, 32, 16, 8, 4, 2, 1) if width % size == 0)
