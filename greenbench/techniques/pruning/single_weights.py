"""Single weights set to zero: by magnitude, Wanda or SparseGPT, anywhere or N of every M."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models.parts import decoder_blocks, weight_count
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.column_solver import (
    BLOCK,
    block_width,
    inverse_factor,
    settle_columns,
)
from greenbench.techniques.shared.layerwise import (
    Gram,
    SquaredNorm,
    require_calibration,
    token_batches,
    visits,
)
from greenbench.techniques.shared.linear_views import block_linears, linear_blueprint, reach
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

UNSTRUCTURED = "unstructured"
SPARSE_ROWS, SPARSE_COLUMNS = 32, 64
"""Both of PyTorch's semi-structured kernels take 16-bit weights of a multiple of this shape."""
COMPRESSED = 9 / 16
"""Bytes of a compressed 2:4 weight of 16 bits: half the values, and 2 bits to place each."""
SPARSE_CAPABILITY = (8, 0)
"""Compute capability from which they are there."""


class Pattern(NamedTuple):
    """At most `kept` of every `of` weights in a row are not zero."""

    kept: int
    of: int


@dataclass(frozen=True)
class _PruneWeights(ModelEdit):
    """What the three have in common: which weights, how many, and the kernel that computes with them."""

    form: ClassVar[Form] = "safetensors"

    sparsity: float = 0.5
    """Share of the weights of every linear layer in the blocks to set to zero."""
    pattern: str = UNSTRUCTURED
    """``unstructured``, or ``N:M`` as in 2:4 and 4:8, whose sparsity is 1 - N/M."""

    def __post_init__(self) -> None:
        key = f"technique.{self.name}"
        require(0 < self.sparsity < 1, f"{key}.sparsity", self.sparsity, "above 0, below 1")
        if self.pattern == UNSTRUCTURED:
            return
        pattern = self._pattern
        if pattern is None or not 0 < pattern.kept < pattern.of <= BLOCK:
            raise UserError(
                f"{key}.pattern={self.pattern} is unknown: allowed are {UNSTRUCTURED} and N:M with "
                f'N below M, such as "2:4" and "4:8" (in YAML, with the quotes).'
            )
        share = 1 - pattern.kept / pattern.of
        allowed = f"{share:g}, which {key}.pattern={self.pattern} fixes"
        require(abs(self.sparsity - share) < 1e-6, f"{key}.sparsity", self.sparsity, allowed)

    def traits(self) -> Traits:
        """2:4 may leave compressed weights, which nothing after it can read."""
        return Traits(
            on_linears=True,
            needs_plain_weights=True,
            keeps=self._pattern != Pattern(2, 4),
            packs_weights=self._pattern == Pattern(2, 4),
        )

    def check(self, machine: Machine, engine: Engine) -> None:
        """What 2:4 compresses on a GPU, PyTorch's own kernels read, and no file holds."""
        able = machine.capability is not None and machine.capability >= SPARSE_CAPABILITY
        if self._pattern == Pattern(2, 4) and able and "module" not in engine.forms:
            raise Unsupported(
                f"technique.{self.name}.pattern={self.pattern} compresses weights for kernels of "
                f"PyTorch's on {machine.device_name}, which engine={engine.name} does not run: use "
                f"engine=transformers, or say pattern={UNSTRUCTURED}."
            )

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Every M weights must lie in one row."""
        self._require_groups(layer.in_features for layer in block_linears(linear_blueprint(config)))

    def promise(self, model: Any) -> Promise:
        """Nothing but zeros where a dense kernel computes; half the products where 2:4 has its own."""
        layers = block_linears(model)
        self._require_groups(layer.in_features for layer in layers)
        sparse = sum(layer.weight.nbytes for layer in layers if self._compresses(layer))
        dense = sum(layer.weight.nbytes for layer in layers) - sparse
        total = sum(weight.nbytes for weight in model.parameters())
        kernel = "sparse_semi_structured" if sparse else "dense"
        share = self.sparsity * reach(model)
        return Promise(
            bytes_ratio=1 - (sparse / total) * (1 - COMPRESSED),
            flops_ratio=(dense + sparse / 2) / (dense + sparse),
            sparsity=share,
            kernel=kernel,
            note=f"{share:.0%} of the blocks' weights are zero ({self.pattern}); kernel: {kernel}",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Set weights to zero, and compress them where this device computes with compressed ones."""
        self._prune(model, work)
        layers = block_linears(model)
        zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
        compressed = [layer for layer in layers if self._compresses(layer)]
        for layer in compressed:
            _compress(layer)
        work.details.update(
            linear_layers=len(layers),
            sparsity=zeros / weight_count(decoder_blocks(model)),
            compressed_layers=len(compressed),
        )
        return Edited(model)

    @abstractmethod
    def _prune(self, model: Any, preparation: Preparation) -> None:
        """Set the weights of every linear layer in the blocks to zero, in place."""

    @property
    def _pattern(self) -> Pattern | None:
        found = re.fullmatch(r"(\d+):(\d+)", self.pattern)
        return Pattern(int(found[1]), int(found[2])) if found else None

    def _require_groups(self, widths: Iterable[int]) -> None:
        pattern = self._pattern
        odd = [width for width in widths if pattern and width % pattern.of]
        if odd:
            raise UserError(
                f"technique.{self.name}.pattern={self.pattern} does not divide the {odd[0]} inputs of "
                f"some of this model's linear layers: say pattern={UNSTRUCTURED}."
            )

    def _compresses(self, layer: nn.Linear) -> bool:
        return self._pattern == Pattern(2, 4) and has_sparse_kernel(layer.weight)


@dataclass(frozen=True)
class PruneMagnitude(_PruneWeights):
    """Set the smallest weights of every layer to zero (Han et al., arXiv 1506.02626, without retraining)."""

    name: ClassVar[str] = "prune_magnitude"
    summary: ClassVar[str] = "sets the smallest weights of every layer to zero"
    paper: ClassVar[str | None] = "arXiv:1506.02626"

    def _prune(self, model: Any, preparation: Preparation) -> None:
        for layer in block_linears(model):
            scores = layer.weight.detach().float().abs()
            mask = lowest_in_rows(scores.flatten()[None], self.sparsity, self._pattern)
            layer.weight.data.masked_fill_(mask.view_as(scores), 0)


@dataclass(frozen=True)
class _PruneByActivations(_PruneWeights):
    """Pruning that looks at what the layers are given, on calibration text."""

    passages: int = 32
    """Calibration passages."""
    tokens: int = 256
    """Tokens used of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_calibration(self.name, self.passages, self.tokens)


@dataclass(frozen=True)
class PruneWanda(_PruneByActivations):
    """In every row, set the weights with the smallest |weight| x ||input|| to zero (arXiv 2306.11695)."""

    name: ClassVar[str] = "prune_wanda"
    summary: ClassVar[str] = "sets weights that are small, or whose inputs are, to zero"
    paper: ClassVar[str | None] = "arXiv:2306.11695"

    def _prune(self, model: Any, preparation: Preparation) -> None:
        batches = token_batches(preparation, self.passages, self.tokens)
        for visit in visits(model, batches, SquaredNorm, progress=preparation.progress):
            for name, layer in visit.linears.items():
                scores = layer.weight.detach().float().abs() * visit.seen[name].total.sqrt()
                layer.weight.data.masked_fill_(
                    lowest_in_rows(scores, self.sparsity, self._pattern), 0
                )


@dataclass(frozen=True)
class PruneSparseGpt(_PruneByActivations):
    """Set weights to zero and let the others make up for them (SparseGPT, arXiv 2301.00774)."""

    name: ClassVar[str] = "prune_sparsegpt"
    summary: ClassVar[str] = "sets weights to zero and corrects the others for it"
    paper: ClassVar[str | None] = "arXiv:2301.00774"

    percdamp: float = 0.01
    """Damping of the Hessian, as a share of its mean diagonal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        key = f"technique.{self.name}.percdamp"
        require(0 < self.percdamp <= 1, key, self.percdamp, "above 0, at most 1")

    def _prune(self, model: Any, preparation: Preparation) -> None:
        batches = token_batches(preparation, self.passages, self.tokens)
        for visit in visits(model, batches, Gram, progress=preparation.progress):
            for names in visit.alike():
                factor = inverse_factor(visit.seen[names[0]].matrix, self.percdamp)
                for name in names:
                    weight = visit.linears[name].weight
                    weight.data.copy_(sparsegpt(weight, factor, self.sparsity, self._pattern))


def lowest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Mask of exactly `count` smallest scores along the last dimension."""
    chosen = scores.topk(count, dim=-1, largest=False, sorted=False).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, chosen, True)


def lowest_in_rows(
    scores: torch.Tensor, sparsity: float, pattern: Pattern | None = None
) -> torch.Tensor:
    """Mask of the smallest scores (rows, columns) in every row, or in every group of an N:M pattern."""
    if pattern is None:
        return lowest(scores, round(sparsity * scores.shape[-1]))
    groups = scores.reshape(len(scores), -1, pattern.of)
    return lowest(groups, pattern.of - pattern.kept).view_as(scores)


def sparsegpt(
    weight: torch.Tensor, factor: torch.Tensor, sparsity: float, pattern: Pattern | None = None
) -> torch.Tensor:
    """`weight` (out, in) pruned and corrected, float32; `factor` is `inverse_factor`'s.

    The masks of a block are chosen at its start, with what earlier blocks have done to it, by the
    error that each removal would cost: w^2 / [H^-1]_jj (SparseGPT, algorithm 1 and sec. 3.3).
    """
    span = pattern.of if pattern else BLOCK
    mask = torch.zeros_like(weight.T, dtype=torch.bool)
    cost = factor.diagonal().square()[:, None]
    found: list[torch.Tensor] = []

    def choose(current: torch.Tensor, start: int) -> torch.Tensor:
        scores = current[start : start + span].square() / cost[start : start + span]
        if pattern:
            return lowest_in_rows(scores.T, sparsity, pattern).T
        ends = (start, start + len(scores))
        count = [round(sparsity * end * weight.shape[0]) for end in ends]
        return lowest(scores.flatten(), count[1] - count[0]).view_as(scores)

    def settle(current: torch.Tensor, column: int) -> torch.Tensor:
        if column % span == 0:
            mask[column : column + span] = choose(current, column)
        found.append(current[column].masked_fill(mask[column], 0))
        return found[-1]

    settle_columns(weight, factor, block_width(span), settle)
    return torch.stack(found, 1)


def has_sparse_kernel(weight: torch.Tensor) -> bool:
    """Whether PyTorch multiplies by `weight`, once 2:4 sparse, with a semi-structured kernel here."""
    return (
        weight.is_cuda
        and torch.cuda.get_device_capability(weight.device) >= SPARSE_CAPABILITY
        and torch.backends.cusparselt.is_available()
        and weight.dtype in (torch.float16, torch.bfloat16)
        and weight.shape[0] % SPARSE_ROWS == 0
        and weight.shape[1] % SPARSE_COLUMNS == 0
    )


def _compress(layer: nn.Linear) -> None:
    from torch.sparse import to_sparse_semi_structured

    compressed = to_sparse_semi_structured(layer.weight.detach().contiguous())
    layer.weight = nn.Parameter(compressed, requires_grad=False)
