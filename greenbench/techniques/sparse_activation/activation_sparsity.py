"""Activation sparsity: what an MLP is given near zero is left out, and its weights are not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models.parts import blueprint, decoder_blocks, weight_count
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.layerwise import require_calibration, token_batches
from greenbench.techniques.sparse_activation.experts import read_always
from greenbench.techniques.sparse_activation.passes import Watcher
from greenbench.techniques.sparse_activation.sparse_columns import Met, SparseColumns
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

KEY = "technique.activation_sparsity"
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
MAGNITUDES = 1 << 15
"""Numbers of bfloat16 that are not negative."""


class Place(NamedTuple):
    """One projection, and where it stands."""

    mlp: nn.Module
    name: str

    @property
    def layer(self) -> Any:
        """What stands there by now."""
        return getattr(self.mlp, self.name)


@dataclass(frozen=True)
class ActivationSparsity(ModelEdit):
    """Leave out the inputs of every MLP projection that are near zero (TEAL, arXiv 2408.14690, with as
    large a share everywhere; of the last one, those that the gate closes, as in CATS, arXiv 2404.08763).

    Thresholds are quantiles of the magnitudes on calibration text.
    """

    name: ClassVar[str] = "activation_sparsity"
    summary: ClassVar[str] = "leaves out what MLPs are given near zero, and reads no weights for it"
    paper: ClassVar[str | None] = "arXiv:2408.14690"
    told: ClassVar[frozenset[str]] = frozenset({"sparsity"})

    sparsity: float = 0.4
    """Share of the inputs of each projection to leave out."""
    passages: int = 32
    """Calibration passages."""
    tokens: int = 256
    """Tokens used of each."""

    def __post_init__(self) -> None:
        require(0 < self.sparsity < 1, f"{KEY}.sparsity", self.sparsity, "above 0, below 1")
        require_calibration(self.name, self.passages, self.tokens)

    def traits(self) -> Traits:
        """What is left out depends on the text; plain weights come to lie as nothing after it reads them."""
        return Traits(
            needs_plain_weights=True,
            packs_weights=True,
            holds_blocks=True,
            traceable=False,
            one_gpu=True,
            dynamic=True,
        )

    def check(self, machine: Machine, engine: Engine) -> None:
        """Its kernel is the CPU's."""
        if machine.device != "cpu":
            raise Unsupported(
                "technique=activation_sparsity has a kernel for the CPU alone, and this is "
                f"{machine.device_name}: say device=cpu."
            )

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The model has gated MLPs; one token at a time."""
        _places(blueprint(config))
        if workload.batch_size > 1:
            raise UserError(
                "technique=activation_sparsity saves in passes of one token, but workload.batch_size="
                f"{workload.batch_size}: set it to 1 (rows that leave out different inputs read nearly all)."
            )

    def promise(self, model: Any) -> Promise:
        """The share of the MLPs' weights that a token then meets."""
        saved = self.sparsity * sum(place.layer.weight.numel() for place in _places(model))
        return Promise(
            bytes_ratio=1.0,
            flops_ratio=1 - saved / weight_count(decoder_blocks(model)),
            active_bytes_ratio=1 - saved * model.dtype.itemsize / read_always(model),
            kernel="embedding_bag",
            note=f"{self.sparsity:.0%} of the inputs of each MLP projection left out",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """Nothing was left out of a pass of one token."""
        return not observed.get("weights_left_out")

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Find the thresholds, and put in layers that keep to them."""
        places, met, read = _places(model), Met(), read_always(model)
        batches = token_batches(work, self.passages, self.tokens)
        found = thresholds(model, places, self.sparsity, batches)
        for place, threshold in zip(places, found, strict=True):
            setattr(place.mlp, place.name, SparseColumns(place.layer, threshold, met))
        work.details["thresholds"] = {
            name: [t for place, t in zip(places, found, strict=True) if place.name == name]
            for name in PROJECTIONS
        }
        _Tally(work.observed, met, read, model.dtype.itemsize).watch(model)
        return Edited(model)


def _places(model: Any) -> list[Place]:
    """The three projections of every block's MLP. Raises Unsupported where there are none."""
    found = [
        Place(module, name)
        for block in decoder_blocks(model)
        for module in block.modules()
        if all(type(getattr(module, name, None)) is nn.Linear for name in PROJECTIONS)
        for name in PROJECTIONS
    ]
    if not found:
        raise Unsupported(
            "technique=activation_sparsity knows MLPs with a gate, an up and a down projection, and this "
            "model has none: choose another model."
        )
    return found


@torch.no_grad()
def thresholds(
    model: Any, places: Sequence[Place], sparsity: float, batches: Sequence[torch.Tensor]
) -> list[float]:
    """Per projection, the magnitude below which `sparsity` of its inputs lie on `batches` of token ids.

    Magnitudes are counted by their bfloat16, of which there are few: exact where that is the model's.
    """
    seen = [torch.zeros(MAGNITUDES, dtype=torch.long) for _ in places]

    def watch(counts: torch.Tensor) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            bits = args[0].abs().bfloat16().view(torch.int16).flatten().long().cpu()
            counts.add_(bits.bincount(minlength=MAGNITUDES))

        return note

    with ExitStack() as stack:
        for place, counts in zip(places, seen, strict=True):
            stack.callback(place.layer.register_forward_pre_hook(watch(counts)).remove)
        for batch in batches:
            model(batch, use_cache=False)
    return [_quantile(counts, sparsity) for counts in seen]


def _quantile(counts: torch.Tensor, share: float) -> float:
    """The least bfloat16 with `share` of what was counted below it."""
    below = counts.cumsum(0)
    place = int(torch.searchsorted(below, share * float(below[-1])))
    return float(torch.tensor(place + 1, dtype=torch.int16).view(torch.bfloat16))


class _Tally(Watcher):
    """Counts, between passes, in what the technique has observed."""

    def __init__(self, observed: dict[str, Any], met: Met, read: int, itemsize: int) -> None:
        """`read`: bytes of a pass that leaves out nothing, in numbers of `itemsize`."""
        self._observed, self._met, self._read, self._itemsize = observed, met, read, itemsize

    def begin(self, rows: int, length: int) -> None:
        """What came before may have ended unseen, where a technique calls the blocks itself."""
        self.end()

    def end(self) -> None:
        """Take what the layers met since the last time."""
        met, seen = self._met, self._observed
        if not met.weights + met.left_out:
            return
        for name, count in (
            ("passes", 1),
            ("weights_met", met.weights),
            ("weights_left_out", met.left_out),
        ):
            seen[name] = seen.get(name, 0) + count
        met.weights = met.left_out = 0
        left_out = seen["weights_left_out"]
        active = self._read - left_out / seen["passes"] * self._itemsize
        seen.update(
            left_out=left_out / (seen["weights_met"] + left_out),
            active_bytes_a_token=active,
            active_bytes_ratio=active / self._read,
        )
