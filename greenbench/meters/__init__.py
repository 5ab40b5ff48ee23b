"""Meters: a file each, found by its name, behind one call. Start with :func:`open_meters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

from greenbench import plugins
from greenbench.errors import Lost, Unavailable, Unsupported
from greenbench.machine.clock import Clock
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.meter import Meter, Place, Reading, at_edge, codes, residual, span
from greenbench.schema.codes import validity
from greenbench.schema.quantity import Boundary
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
    "counts_one_gpu",
    "in_words",
    "load",
    "named",
    "no_meters",
    "open_meters",
    "require_answer",
    "residual",
    "span",
    "validity",
]


OF_ONE_RUN: frozenset[Boundary] = frozenset({"gpu", "module"})
"""What a run has for itself beside neighbours on other GPUs."""
SHARED = (
    "It counts the runs on other GPUs of this machine too: devices=1 measures one run at a time."
)


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

    def told(self) -> dict[str, str]:
        """`notes`, and what the meters could not see of the run that is over."""
        unseen = {meter.name: meter.unseen for meter in self.meters if meter.unseen}
        notes = {
            name: f"{self.notes[name]} {why}" for name, why in unseen.items() if name in self.notes
        }
        return self.notes | unseen | notes

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


def named() -> plugins.Room:
    """Every meter by name, plug-ins' too; none is imported."""
    return plugins.named(__name__)


def load(name: str) -> type[Meter]:
    """The meter of that name, imported alone."""
    return cast("type[Meter]", named()[name].load())


def counts_one_gpu(name: str) -> bool:
    """Whether what it counts, of a run on a GPU, is that run's alone."""
    meter = load(name)
    return "gpu" in meter.covers and getattr(meter, "boundary", "gpu") in OF_ONE_RUN


def open_meters(
    spec: MeterSpec,
    uuids: Sequence[str],
    own: OwnProcesses | None = None,
    unseen: str | None = None,
    neighbours: int = 0,
) -> OpenMeters:
    """Open what answers, in the order of `spec`, for a run on the GPUs `uuids` (none: the CPU).

    `own` are the processes that do the run's work; null: this one and its descendants.
    `unseen` says why what else does it is not among them: nothing is estimated then. Where `neighbours`
    run on other GPUs meanwhile, only what counts the run's own is opened.

    Meters of other boundaries, and an independent check of the primary, follow it. Whatever the
    order, what counts the device that runs the model comes first, and an estimate comes last: it
    is used only where nothing measured answers, and only for a CPU. Raises UserError for a meter
    whose plug-in is broken.
    """
    opened = OpenMeters()
    place = Place(uuids, own or OwnProcesses(), spec.cpu_tdp_w, unseen, neighbours)
    chosen = [load(name) for name in spec.order]
    try:
        for meter in sorted(chosen, key=lambda meter: _rank(meter, place)):
            _open(opened, meter, place)
    except BaseException:
        opened.__exit__(None, None, None)
        raise
    return opened


def no_meters(spec: MeterSpec, reason: str) -> OpenMeters:
    """None of them counts, for one reason."""
    return OpenMeters(refused=dict.fromkeys(spec.order, reason))


def require_answer(spec: MeterSpec, opened: OpenMeters) -> None:
    """Raise Unsupported, one sentence, where the one meter that `spec` allows does not answer."""
    if len(spec.order) == 1 and not opened.meters:
        (name,) = spec.order
        why = "; ".join(opened.refused.values()).rstrip(".")
        raise Unsupported(
            f"meter.order=[{name}] does not answer here ({why}), and nothing stands in for it: add "
            f"others, as in meter.order=[{name},estimate], or choose meter=auto."
        )


def in_words(used: Sequence[str], refused: Mapping[str, str]) -> str:
    """Which meter counts, and why not those before it, in one line."""
    said = f"joules by {used[0]}" if used else "no joules"
    return "; ".join([said, *(f"not by {name}: {why}" for name, why in refused.items())])


def _is_estimate(meter: type[Meter]) -> bool:
    return str(getattr(meter, "provenance", "")).startswith("estimated")


def _rank(meter: type[Meter], place: Place) -> tuple[bool, bool]:
    return _is_estimate(meter), place.device not in meter.covers


def _open(opened: OpenMeters, meter: type[Meter], place: Place) -> None:
    if _is_estimate(meter) and opened.meters:
        return  # not refused: not needed
    if _is_estimate(meter) and place.unseen:
        opened.refused[meter.name] = place.unseen
        return
    if place.device not in meter.covers and not (place.uuids and opened.meters):
        opened.refused[meter.name] = (
            f"{meter.name} counts the CPU, and nothing counts the GPU that this run is on."
            if place.uuids
            else f"{meter.name} counts GPUs, and this run is on the CPU."
        )
        return
    refused = False
    for part in meter.parts(place):
        if refused and not part.alone:
            continue
        try:
            with plugins.answerable():
                counter = part.open()
        except Unavailable as reason:
            refused = True
            if str(reason) not in opened.refused.values():
                opened.refused[part.name] = str(reason)
            continue
        if place.neighbours and counter.boundary not in OF_ONE_RUN:
            counter.close()
            opened.refused[part.name] = SHARED
            continue
        opened.meters.append(counter)
        if counter.note:
            opened.notes[part.name] = counter.note
