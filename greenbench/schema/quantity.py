"""Numbers that say where they come from and how sure they are. The base of everything in a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from greenbench.wording import ESTIMATE, MINUS, TO, fixed, number, plain, signed

Boundary = Literal["gpu", "module", "cpu_package", "dram", "wall"]
"""What joules cover."""
Provenance = Literal[
    "measured:counter:nvml",
    "measured:integrated:nvml",
    "measured:counter:rapl",
    "measured:counter:zeus",
    "measured:integrated:zeus",
    "measured:wall",
    "measured:plugin",
    "measured:clock",
    "measured:memory",
    "measured:score",
    "measured:count",
    "estimated:model",
    "assumed",
    "unavailable",
]
"""Where a number comes from."""


class Part(BaseModel):
    """Base of everything in a record: frozen, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Quantity(Part):
    """One number with its unit, provenance, n and 95 % interval, or the reason for what is missing."""

    value: float | None
    """Null where it could not be had."""
    unit: str
    """As in ``J/token``."""
    provenance: Provenance
    n: int = 0
    """Independent observations behind the value (blocks for timings and joules, items for quality)."""
    low: float | None = None
    """Lower end of the 95 % interval, or of an estimate's bounds."""
    high: float | None = None
    """Upper end, likewise."""
    reason: str | None = None
    """Why the value or its interval is missing, or is not the usual one."""

    @model_validator(mode="after")
    def _say_why(self) -> Self:
        missing = self.value is None or self.low is None or self.high is None
        if missing and not self.reason:
            raise ValueError("a quantity without a value or an interval must give its reason")
        return self

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The 95 % interval, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def is_estimate(self) -> bool:
        """Whether the number was not measured."""
        return self.provenance in {"estimated:model", "assumed"}

    @property
    def is_measured(self) -> bool:
        """Whether it was; one that is unavailable is neither."""
        return self.provenance.startswith("measured")

    def inverse(self, unit: str) -> Quantity:
        """One over it, of what is above 0; null as it is."""
        ends = [None if end is None or end <= 0 else 1 / end for end in (self.high, self.low)]
        value = None if self.value is None or self.value <= 0 else 1 / self.value
        return self.model_copy(
            update={"value": value, "low": ends[0], "high": ends[1], "unit": unit}
        )

    def scaled(self, factor: float, unit: str) -> Quantity:
        """The same in another unit, `factor` of which make one of its own."""
        value, low, high = (
            None if part is None else part * factor for part in (self.value, self.low, self.high)
        )
        return self.model_copy(update={"value": value, "low": low, "high": high, "unit": unit})


def missing(unit: str, reason: str) -> Quantity:
    """A quantity that could not be had, and why."""
    return Quantity(value=None, unit=unit, provenance="unavailable", reason=reason)


def decimals_of(quantity: Quantity) -> int:
    """Decimals that the shorter side of the interval supports."""
    value, interval = quantity.value or 0.0, quantity.bounds
    sides = [abs(bound - value) for bound in interval or () if bound != value]
    return len(number(value, min(sides, default=None)).partition(".")[2])


def named(quantities: Mapping[str, Quantity], name: str, unit: str) -> Quantity:
    """The quantity of that name, or one that says it is not in the record."""
    return quantities.get(name) or missing(unit, f"the record has no {name}")


def _in_words(reason: str | None, words: str) -> str:
    return f"({words}{plain(reason)})"


def said(
    quantity: Quantity,
    why: Callable[[str | None, str], str] = _in_words,
    *,
    suffix: str = "",
    change: bool = False,
    decimals: int | None = None,
) -> str:
    """A quantity as ``0.63× (0.60–0.66)``, estimates as ``≈0.63×``; `change` adds the sign.

    `decimals` overrules the digits that the interval supports. What is missing is ``n/a`` or a bare
    value, followed by `why` of its reason and of the words before it.
    """
    if quantity.value is None:
        return f"n/a {why(quantity.reason, '')}"
    mark = ESTIMATE if quantity.is_estimate else ""
    sign = signed if change else str
    places = decimals_of(quantity) if decimals is None else decimals
    value = f"{mark}{sign(fixed(quantity.value, places))}{suffix}"
    interval = quantity.bounds
    if interval is None:
        return f"{value} {why(quantity.reason, 'no interval: ')}"
    low, high = (fixed(bound, places) for bound in interval)
    return f"{value} ({sign(low)}{' to ' if change or MINUS in low else TO}{sign(high)})"
