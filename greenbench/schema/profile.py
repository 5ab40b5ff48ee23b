"""What both models of a run spend their time in, as a profiler saw it after all windows had been taken."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Self

from pydantic import model_validator

from greenbench.schema.quantity import Part

Kind = Literal[
    "products",
    "packed products",
    "attention",
    "conversions",
    "copies",
    "matrix work",
    "operators",
    "launches",
    "outside operators",
    "waiting",
    "untold",
]
"""What time is spent in: products with whole matrices of weights; such products by kernels for packed
weights; attention and its cache; whole matrices turned into another number format; copied; gone through
otherwise; all other operators; those that take no longer than to begin one, and, of a GPU, its waiting for
them; outside of torch's operators, in Python or in what it calls; and nothing at all, while the process
sleeps. Untold is what cannot be told apart: steps that torch compiled for a processor, but for the operators
that they call, and sleep that may lie between operators or within, where threads wait for each other."""


class Operation(NamedTuple):
    """All calls of one operator with inputs of one kind, in one request batch."""

    name: str
    """As the profiler calls it, such as ``aten::mm``; of what no operator has begun, the kernel's."""
    shapes: tuple[tuple[int, ...], ...]
    """Of its inputs; empty of those that are no tensors."""
    numbers: tuple[str, ...]
    """Number formats of its inputs; empty likewise."""
    calls: int
    seconds: float
    """Its own, without that of the operators which it calls."""


class Trace(NamedTuple):
    """One request batch, answered twice: once as always, and once under the profiler."""

    wall_s: float
    """As always."""
    operations: tuple[Operation, ...]
    between_s: float
    """In no operator, as far as that is told."""
    launching_s: float
    """That a GPU waited while an operator was on its way to it; 0 of a CPU, where that is the operator's."""
    asleep_s: float
    """Of `between_s`, in which the process neither computed nor waited for a processor."""
    untold_s: float
    """In what torch compiled for a processor, or asleep while other threads of the process ran, which may
    have been within an operator."""


class Operator(Part):
    """One operator of a model, of those that took longest."""

    name: str
    """As torch calls it, such as ``aten::mm``, or the kernel's name."""
    numbers: str
    """Number formats of its inputs; empty where it has none."""
    kind: Kind
    calls: float
    """In one request batch."""
    seconds: list[float]
    """Its own, of each repetition."""


class Profiled(Part):
    """One model's time, of one request batch, by repetition. Where the run's answers are longer than those
    that were profiled, all is extrapolated to theirs: on the line through answers of one token and those."""

    wall_s: list[float]
    """Without the profiler."""
    kinds_s: dict[Kind, list[float]]
    """What the profiler's own time is taken off from; together about as long as `wall_s`."""
    by_rows_s: list[float]
    """Of the products, what grows with the rows that are multiplied: prompt and decoding multiply by the same
    matrices, with many rows and with few."""
    calls: dict[Kind, float]
    """Operators, by kind."""
    multiplications: float
    """In products whose shapes are known."""
    elements: float
    """Numbers gone through by operators that are no products, attention or copies."""
    operators: list[Operator]
    """Those of each kind that took longest."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        series = [
            self.by_rows_s,
            *self.kinds_s.values(),
            *(each.seconds for each in self.operators),
        ]
        if any(len(each) != len(self.wall_s) for each in series) or not self.wall_s:
            raise ValueError("a profile needs every repetition of each kind of time")
        if any(seconds < 0 for each in (self.wall_s, *series) for seconds in each):
            raise ValueError("no time of a profile is below 0")
        return self


ENDED: Final = "the run ended while both models were profiled"


class Profile(Part):
    """Both models, or why not."""

    tool: str | None = None
    """What looked, with its version."""
    reason: str | None = None
    """Why there is no profile, or what is missing of the run after it."""
    tokens: int | None = None
    """Of each answer that was profiled: as in the run, or fewer."""
    baseline: Profiled | None = None
    candidate: Profiled | None = None

    @model_validator(mode="after")
    def _say_why(self) -> Self:
        if (self.baseline is None or self.candidate is None) and not self.reason:
            raise ValueError("a profile that lacks a model must give its reason")
        return self

    def ended(self, why: str) -> Profile:
        """It, where the run came to no end: all blocks had been measured when it was kept."""
        told = "the run ended after it was profiled" if self.reason is None else self.reason
        then = "" if self.reason in (None, ENDED) else "; then the run ended"
        return self.model_copy(update={"reason": f"{told}{then}: {why.rstrip('.')}"})
