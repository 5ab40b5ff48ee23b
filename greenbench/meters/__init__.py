"""Meters: everything that counts joules, behind one call. Start with :func:`open_meters`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.estimate import CpuEstimate, DramEstimate
from greenbench.meters.meter import Meter, Reading, at_edge, codes, residual, span
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.meters.rapl import RaplCounter
from greenbench.meters.zeus import ZeusMeter
from greenbench.schema.codes import validity
from greenbench.schema.enums import MeterName
from greenbench.schema.spec import MeterSpec
from greenbench.schema.window import Span, Trace

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
    "residual",
    "span",
    "validity",
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

    def trace(self, start_s: float, end_s: float) -> Trace | None:
        """How the device fared between two monotonic times, by the first meter that looks."""
        traces = (meter.trace(start_s, end_s) for meter in self.meters)
        return next((trace for trace in traces if trace is not None), None)

    def checked(self, spans: Sequence[Span]) -> tuple[float | None, list[str]]:
        """Residual of a counter against the meter that checks it, where both were read, and its codes."""
        by_meter = {span.meter: span for span in spans}
        for meter in self.meters:
            if meter.checks in by_meter:
                return residual(by_meter[meter.checks], by_meter[meter.name])
        return None, []

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


def open_meters(
    spec: MeterSpec, uuids: Sequence[str], own: OwnProcesses | None = None
) -> OpenMeters:
    """Open what answers, in the order of `spec`, for a run on the GPUs `uuids` (none: the CPU).

    `own` are the processes that do the run's work; null: this one and its descendants.

    Meters of other boundaries, and an independent check of the primary, follow it. Whatever the
    order, what counts the device that runs the model comes first, and an estimate comes last: it
    is used only where nothing measured answers, and only for a CPU.
    """
    opened = OpenMeters()
    place = _Place(spec, uuids, own or OwnProcesses())
    try:
        for name in sorted(spec.order, key=lambda name: _rank(name, uuids)):
            _open(opened, name, place)
    except BaseException:
        opened.__exit__(None, None, None)
        raise
    return opened


def _rank(name: MeterName, uuids: Sequence[str]) -> tuple[bool, bool]:
    return name is MeterName.estimate, bool(uuids) and name not in (MeterName.nvml, MeterName.zeus)


class _Place(NamedTuple):
    """What a meter is opened for."""

    spec: MeterSpec
    uuids: Sequence[str]
    own: OwnProcesses


def _open(opened: OpenMeters, name: MeterName, place: _Place) -> None:
    if name is MeterName.estimate and opened.meters:
        return  # not refused: not needed
    if reason := _out_of_place(name, opened, place.uuids):
        opened.refused[name.value] = reason
        return
    for part, open_part in _PARTS[name].items():
        try:
            meter = open_part(place)
        except Unavailable as reason:
            if str(reason) not in opened.refused.values():
                opened.refused[part] = str(reason)
            if name in (MeterName.rapl, MeterName.zeus):
                break  # the memory's joules alone are no one's question
            continue
        opened.meters.append(meter)
        if meter.note:
            opened.notes[part] = meter.note


def _out_of_place(name: MeterName, opened: OpenMeters, uuids: Sequence[str]) -> str | None:
    if name is MeterName.nvml and not uuids:
        return "NVML counts GPUs, and this run is on the CPU."
    if name is MeterName.estimate and uuids:
        return "An estimate covers the CPU, and this run is on a GPU."
    if name is MeterName.rapl and uuids and not opened.meters:
        return "RAPL counts the CPU, and nothing counts the GPU that this run is on."
    return None


_PARTS: dict[MeterName, dict[str, Callable[[_Place], Meter]]] = {
    MeterName.nvml: {
        "nvml": lambda place: NvmlCounter(place.uuids),
        "nvml_power": lambda place: NvmlPower(place.uuids, own=place.own).start(),
    },
    MeterName.rapl: {
        "rapl": lambda place: RaplCounter("cpu_package"),
        "rapl_dram": lambda place: RaplCounter("dram"),
    },
    MeterName.zeus: {
        "zeus": lambda place: ZeusMeter(place.uuids),
        "zeus_dram": lambda place: ZeusMeter(place.uuids, dram=True),
    },
    MeterName.estimate: {
        "estimate": lambda place: CpuEstimate(place.spec.cpu_tdp_w, cpu_s=place.own.cpu_s),
        "estimate_dram": lambda place: DramEstimate(held_bytes=place.own.held_bytes),
    },
}
