"""One metered window around any code: no model, no engine, no blocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from greenbench.arguments import texts
from greenbench.errors import Lost, Unavailable, UserError
from greenbench.machine import cpu_load
from greenbench.machine.gpus import visible_uuids
from greenbench.machine.processes import OwnProcesses
from greenbench.machine.standstill import Pulse
from greenbench.measure.recorder import short_codes
from greenbench.meters import OpenMeters, named, open_meters
from greenbench.meters.meter import Reading, at_edge, codes, span
from greenbench.schema.codes import Validity, validity
from greenbench.schema.quantity import Boundary, Quantity, missing
from greenbench.schema.ranges import require_choice
from greenbench.schema.spec import MeterSpec
from greenbench.schema.window import Span

OPEN = "the window has not ended yet"
ONE = "one window has no interval: repeat it to see how much it varies"


@dataclass
class Metered:
    """What a block of code drew. Before its end, every number says that it has not ended."""

    energy: Quantity = field(default_factory=lambda: missing("J", OPEN))
    """Joules by the first meter that answers, idle power included."""
    energy_by_meter: Mapping[str, Quantity] = field(default_factory=dict)
    boundaries: Mapping[str, Boundary] = field(default_factory=dict)
    """What each meter's joules cover."""
    seconds: float | None = None
    codes: list[str] = field(default_factory=list)
    """What disturbed it; `greenbench.schema.codes` says what each means."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why other meters do not answer."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What a reader of a meter's numbers must know."""

    @property
    def validity(self) -> Validity:
        """The worst that its codes do to it."""
        return validity(self.codes)


class metered(AbstractContextManager[Metered]):  # it is called as a function is
    """Meter the block of code, also where it raises. Raises UserError for an unknown meter.

    The joules are counted from a step of the first meter's counter to a step of it: up to two ticks
    longer than the block. Work that torch has begun on a GPU is waited for.
    """

    def __init__(self, meters: str | Sequence[str] = "auto") -> None:
        self._window, self._used = _window(_spec(meters)), False

    def __enter__(self) -> Metered:
        if self._used:
            raise UserError("This metered() has been used: call metered() anew for each block.")
        self._used = True
        return self._window.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._window.__exit__(kind, error, trace)


@contextmanager
def _window(spec: MeterSpec) -> Iterator[Metered]:
    window = Metered()
    uuids, reason = _gpus()
    own = OwnProcesses()
    with open_meters(spec, uuids, own) as opened:
        if reason and "nvml" in opened.refused:
            opened.refused["nvml"] = reason
        window.refused, window.notes = opened.refused, opened.notes
        own.refresh()
        pulse = Pulse()
        usage, begins, start_s = cpu_load.usage(own), _read(opened), time.monotonic()
        try:
            yield window
        finally:
            own.refresh()
            window.seconds, window.notes = time.monotonic() - start_s, opened.told()
            _conclude(window, opened, begins)
            found = [*window.codes, *pulse.codes()]
            if not uuids:
                found += cpu_load.codes(usage, cpu_load.usage(own))
            window.codes = sorted(set(found))


def _spec(meters: str | Sequence[str]) -> MeterSpec:
    if meters == "auto":
        return MeterSpec()
    names = [meters] if isinstance(meters, str) else texts("meters", meters, '["rapl", "estimate"]')
    if not names:
        raise UserError('meters is empty: give names of meters, or "auto".')
    for name in names:
        require_choice(name, "meters", ["auto", *named()])
    return MeterSpec(order=names)


def _gpus() -> tuple[list[str], str | None]:
    """The GPUs that CUDA would see, or why there are none."""
    try:
        return visible_uuids(), None
    except Unavailable as reason:
        return [], str(reason)


def _read(opened: OpenMeters) -> list[Reading]:
    """All meters, the first one just after its counter has stepped, once the GPU is done."""
    torch = sys.modules.get("torch")  # what has not been imported has begun nothing
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    first, others = opened.meters[:1], opened.meters[1:]
    return [at_edge(meter, time) for meter in first] + [meter.read() for meter in others]


def _conclude(window: Metered, opened: OpenMeters, begins: Sequence[Reading]) -> None:
    try:
        ends = _read(opened)
    except Lost as lost:
        window.energy, window.codes = missing("J", str(lost)), [lost.code]
        return
    triples = list(zip(opened.meters, begins, ends, strict=True))
    spans = [span(meter, begin, end, begin.time_s) for meter, begin, end in triples]
    window.energy_by_meter = {counted.meter: _joules(counted) for counted in spans}
    window.boundaries = {counted.meter: counted.boundary for counted in spans}
    window.energy = next(iter(window.energy_by_meter.values()), _no_meter(opened))
    disturbed = [code for _, begin, end in triples for code in codes(begin, end)]
    window.codes = sorted({*disturbed, *short_codes(spans), *opened.checked(spans)[1]})


def _joules(counted: Span) -> Quantity:
    value = counted.end_j - counted.start_j
    if value <= 0:
        return missing("J", f"the window is shorter than the meter's tick of {counted.tick_s:g} s")
    return Quantity(
        value=value,
        unit="J",
        provenance=counted.provenance,
        n=1,
        low=counted.low_j,
        high=counted.high_j,
        reason=ONE if counted.low_j is None else "bounds of the estimate, not of a measurement",
    )


def _no_meter(opened: OpenMeters) -> Quantity:
    refused = "; ".join(f"{name}: {why}" for name, why in opened.refused.items())
    return missing("J", f"no meter answered: {refused}")
