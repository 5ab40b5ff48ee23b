"""Meters: everything that counts joules, behind one call. Start with :func:`open_meters`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from greenbench.meters.counter import (
    Clock,
    Lost,
    Meter,
    Reading,
    Unavailable,
    at_edge,
    codes,
    span,
)
from greenbench.meters.estimate import CpuEstimate
from greenbench.meters.nvml import NvmlCounter
from greenbench.meters.rapl import RaplCounter
from greenbench.specs import MeterName, MeterSpec

__all__ = [
    "Clock",
    "Lost",
    "Meter",
    "OpenMeters",
    "Reading",
    "Unavailable",
    "at_edge",
    "codes",
    "open_meters",
    "span",
]


@dataclass
class OpenMeters:
    """The meters of one run; a context manager that closes them.

    `meters` is empty where nothing answers; else its first is the run's primary meter, whose
    boundary holds the device that runs the model. `refused` says why the others do not answer
    and `notes` what a reader of a meter's numbers must know; both by meter name, one sentence.
    """

    meters: list[Meter] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def primary(self) -> Meter | None:
        """The meter whose joules are the run's headline, if any."""
        return self.meters[0] if self.meters else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for meter in self.meters:
            meter.close()


def open_meters(spec: MeterSpec, uuids: Sequence[str]) -> OpenMeters:
    """Open what answers, in the order of `spec`, for a run on the GPUs `uuids` (none: the CPU).

    Meters of other boundaries than the primary's follow it; an estimate is used only where
    nothing measured answers, and only for a CPU.
    """
    opened = OpenMeters()
    try:
        for name in spec.order:
            _OPENERS[name](opened, spec, uuids)
        if uuids and opened.meters and opened.meters[0].boundary not in ("gpu", "module"):
            _refuse_all(opened)
    except BaseException:
        opened.__exit__(None, None, None)
        raise
    return opened
