"""Optimizers of libraries, in place of AdamW."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require
from greenbench.schema.technique import Promise
from greenbench.techniques.recipe import Choice, Plan, Recipe


def trained(model: Any) -> list[Any]:
    """The weights of `model` that are trained."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def adamw(model: Any, rate: float) -> torch.optim.Optimizer:
    """The baseline's: AdamW (arXiv 1711.05101), without weight decay."""
    return torch.optim.AdamW(trained(model), lr=rate, weight_decay=0.0)


@dataclass(frozen=True)
class _Optimizer(Recipe):
    """What the optimizers share."""

    chooses: ClassVar[Choice] = "the optimizer"
    saves: ClassVar[str]

    rate: float = 1.0
    """Learning rates are tried times this, as the optimizer's steps are larger or smaller than AdamW's."""

    def __post_init__(self) -> None:
        require(self.rate > 0, f"technique.{self.name}.rate", self.rate, "more than 0")

    def promise(self) -> Promise:
        """In words: what it saves is memory, and what joules come of it is measured."""
        return Promise(note=self.saves)

    def onto(self, plan: Plan) -> Plan:
        """It alone steps."""
        return replace(plan, optimizer=self.made, rate=plan.rate * self.rate)

    @abstractmethod
    def made(self, model: Any, rate: float) -> Any:
        """The optimizer of the weights that are trained."""


@dataclass(frozen=True)
class FusedAdamw(_Optimizer):
    """AdamW whose step is one kernel over all weights."""

    name: ClassVar[str] = "adamw_fused"
    summary: ClassVar[str] = "AdamW whose step is one fused kernel"
    saves: ClassVar[str] = "reads and writes of the optimizer's step; the same arithmetic"

    def made(self, model: Any, rate: float) -> Any:
        """torch's own."""
        return torch.optim.AdamW(trained(model), lr=rate, weight_decay=0.0, fused=True)


@dataclass(frozen=True)
class Adafactor(_Optimizer):
    """Second moments as rows and columns, at the learning rate that it is given."""

    name: ClassVar[str] = "adafactor"
    summary: ClassVar[str] = "Adafactor: second moments factored, no first ones"
    paper: ClassVar[str | None] = "arXiv:1804.04235"
    saves: ClassVar[str] = "nearly all of the optimizer's state"

    def made(self, model: Any, rate: float) -> Any:
        """That of transformers, without its own schedule."""
        from transformers.optimization import Adafactor as OfTransformers

        return OfTransformers(
            trained(model), lr=rate, scale_parameter=False, relative_step=False, warmup_init=False
        )


@dataclass(frozen=True)
class Muon(_Optimizer):
    """Orthogonalized momentum for the matrices of the blocks, AdamW for the rest.

    Its steps are scaled to AdamW's root mean square, so that learning rates are tried alike (arXiv
    2502.16982).
    """

    name: ClassVar[str] = "muon"
    summary: ClassVar[str] = "Muon: orthogonalized momentum for matrices, AdamW for the rest"
    paper: ClassVar[str | None] = "arXiv:2502.16982"
    saves: ClassVar[str] = "half of the state of the blocks' matrices"

    def check(self, machine: Machine, engine: Engine) -> None:
        """It came with torch 2.9."""
        if not hasattr(torch.optim, "Muon"):
            raise Unsupported(
                f"{self.name} needs torch 2.9 or newer, here is {torch.__version__}: update torch."
            )

    def made(self, model: Any, rate: float) -> Any:
        """torch's own, of each kind of weight."""
        ends = {
            id(end.weight)
            for end in (model.get_input_embeddings(), model.get_output_embeddings())
            if end is not None
        }
        matrices = [w for w in trained(model) if w.ndim == 2 and id(w) not in ends]
        rest = [w for w in trained(model) if w.ndim != 2 or id(w) in ends]
        parts: list[Any] = []
        if matrices:
            parts.append(
                torch.optim.Muon(
                    matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
                )
            )
        if rest:
            parts.append(torch.optim.AdamW(rest, lr=rate, weight_decay=0.0))
        return Both(parts)


class Both:
    """Optimizers of several parts of a model, stepped together."""

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self) -> None:
        """Each its own."""
        for part in self._parts:
            part.step()

    def zero_grad(self) -> None:
        """Each its own."""
        for part in self._parts:
            part.zero_grad()
