"""Optimizers of bitsandbytes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.techniques.training.optimizers import _Optimizer, trained


@dataclass(frozen=True)
class _Bitsandbytes(_Optimizer):
    """What bitsandbytes' optimizers share."""

    packages: ClassVar[tuple[str, ...]] = ("bitsandbytes",)

    rate: float = 1.0
    """Learning rates are tried times this."""

    def check(self, machine: Machine, engine: Engine) -> None:
        """It must be installed."""
        if find_spec("bitsandbytes") is None:
            raise Unsupported(
                f"{self.name} needs the package bitsandbytes: pip install bitsandbytes."
            )


@dataclass(frozen=True)
class Lion(_Bitsandbytes):
    """The sign of a momentum, so that steps are larger and its rate is a tenth of AdamW's."""

    name: ClassVar[str] = "lion"
    summary: ClassVar[str] = "Lion: the sign of a momentum, one state a weight"
    paper: ClassVar[str | None] = "arXiv:2302.06675"
    saves: ClassVar[str] = "half of the optimizer's state"

    rate: float = 0.1

    def made(self, model: Any, rate: float) -> Any:
        """bitsandbytes' own, in 32 bits."""
        from bitsandbytes.optim import Lion as OfBitsandbytes

        return OfBitsandbytes(trained(model), lr=rate, weight_decay=0.0)


@dataclass(frozen=True)
class Adamw8bit(_Bitsandbytes):
    """AdamW with both moments in 8 bits, quantized block by block."""

    name: ClassVar[str] = "adamw_8bit"
    summary: ClassVar[str] = "AdamW with its state in 8 bits"
    paper: ClassVar[str | None] = "arXiv:2110.02861"
    saves: ClassVar[str] = "three quarters of the optimizer's state"

    def made(self, model: Any, rate: float) -> Any:
        """bitsandbytes' own."""
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(trained(model), lr=rate, weight_decay=0.0)
