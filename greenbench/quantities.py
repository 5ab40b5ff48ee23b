"""Numbers that say where they come from and how sure they are. The base of everything in a record."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

Boundary = Literal["gpu", "module", "cpu_package", "dram", "wall"]
Provenance = Literal[
    "measured:counter:nvml",
    "measured:integrated:nvml",
    "measured:counter:rapl",
    "measured:counter:zeus",
    "measured:integrated:zeus",
    "measured:wall",
    "measured:clock",
    "measured:memory",
    "measured:score",
    "measured:count",
    "estimated:model",
    "assumed",
    "unavailable",
]


class Part(BaseModel):
    """Base of everything in a record: frozen, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Quantity(Part):
    """One number with its unit, provenance, n and 95 % interval, or the reason for what is missing."""

    value: float | None
    unit: str
    provenance: Provenance
    n: int = 0
    """Independent observations behind the value (blocks for timings and joules, items for quality)."""
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _say_why(self) -> Self:
        missing = self.value is None or self.low is None or self.high is None
        if missing and not self.reason:
            raise ValueError("a quantity without a value or an interval must give its reason")
        return self


def missing(unit: str, reason: str) -> Quantity:
    """A quantity that could not be had, and why."""
    return Quantity(value=None, unit=unit, provenance="unavailable", reason=reason)
