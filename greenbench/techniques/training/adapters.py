"""Adapters of low rank, which are trained in place of the weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require
from greenbench.schema.technique import Promise
from greenbench.techniques.recipe import Choice, Plan, Recipe


@dataclass(frozen=True)
class Lora(Recipe):
    """Adapters of low rank beside every linear layer of the blocks, by PEFT; all else is frozen.

    Their learning rate is ten times that of all weights (arXiv 2405.09673 finds as much).
    """

    name: ClassVar[str] = "lora"
    summary: ClassVar[str] = "LoRA: adapters of low rank are trained, the weights are not"
    paper: ClassVar[str | None] = "arXiv:2106.09685"
    packages: ClassVar[tuple[str, ...]] = ("peft",)
    chooses: ClassVar[Choice] = "which weights are trained"

    rank: int = 16
    """Of each adapter."""
    alpha: int = 32
    """What an adapter adds is scaled by this over its rank."""
    rate: float = 10.0
    """Learning rates are tried times this."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, f"technique.{self.name}.rank", self.rank, "1 or more")
        require(self.alpha >= 1, f"technique.{self.name}.alpha", self.alpha, "1 or more")
        require(self.rate > 0, f"technique.{self.name}.rate", self.rate, "more than 0")

    def check(self, machine: Machine, engine: Engine) -> None:
        """Its packages must be installed."""
        for package in self.packages:
            if find_spec(package) is None:
                extra = "'greenbench[training]'" if package == "peft" else package
                raise Unsupported(f"{self.name} needs the package {package}: pip install {extra}.")

    def promise(self) -> Promise:
        """The gradient still runs through all weights."""
        return Promise(note="gradients and optimizer state of all but the adapters")

    def onto(self, plan: Plan) -> Plan:
        """The adapters alone."""
        return replace(plan, adapt=self.adapted, rate=plan.rate * self.rate)

    def adapted(self, model: Any) -> Any:
        """`model` with adapters."""
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, settings)
