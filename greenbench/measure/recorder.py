"""Windows: metered intervals of one phase. No code here knows which device or meter it reads."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from greenbench.analysis.disturbances import TICKS
from greenbench.engines.engine import Completion, Observed
from greenbench.errors import Unavailable
from greenbench.machine import cpu_load, memory
from greenbench.machine.clock import Clock
from greenbench.machine.processes import OwnProcesses
from greenbench.machine.standstill import Pulse
from greenbench.measure.requests import Sent, seconds_of
from greenbench.measure.tally import percentiles
from greenbench.meters import OpenMeters
from greenbench.meters.meter import Reading, at_edge, codes, span
from greenbench.meters.wall_log import WallLog
from greenbench.schema.codes import SHORT, validity
from greenbench.schema.window import Phase, Place, Span, Trace, Who, Window

IDLE_PARTS = 3  # one window has no spread
SENSOR_PERIOD_S = 0.1  # GPU power sensors look in cycles of up to this long (arXiv 2312.02741)


Whose = Who | Literal["empty", "one", "both", "unloaded"]


class Recorder:
    """Takes every window of one run with the same meters, on one clock."""

    def __init__(
        self,
        meters: OpenMeters,
        own: OwnProcesses | None = None,
        seed: int = 0,
        *,
        watched: Collection[str] = cpu_load.ON_CPU,
        clock: Clock | None = None,
    ) -> None:
        """`meters` may be empty: windows then say why they have no joules.

        `own` processes do the run's work (null: this one and its descendants). `watched`: codes of
        what others do with the CPUs. `clock` is that of the meters (null: the ``time`` module).
        """
        self._opened, self._clock = meters, clock or time
        self._own, self._watched = own or OwnProcesses(), watched
        self._dice = random.Random(seed)
        self._origin_s = self._clock.monotonic()
        self.origin_epoch_s = time.time()
        self.windows: list[Window] = []
        self.sent = Sent()
        self.used = [meter.name for meter in meters.meters]

    @property
    def shortest_s(self) -> float:
        """Seconds of a window that the first meter's ticks do not make invalid."""
        ticks = TICKS + 1  # readings jitter: exactly TICKS might come out short
        return max((ticks * meter.tick_s for meter in self._opened.meters[:1]), default=0.0)

    @contextmanager
    def whole(self, phase: Phase, who: Whose, observed: Observed | None = None) -> Iterator[None]:
        """Meter the block of code as one window of `phase`, such as prepare or score.

        `observed` is what does the work; null: nothing but this process and its children.
        """
        start = self._begin(observed)
        yield
        self._end(phase, who, start, [])

    def idle(self, who: Whose, seconds: float) -> None:
        """Meter `seconds` in which nothing runs, while `who` is loaded; 0: not at all.

        As `IDLE_PARTS` windows, or one where they would be of too few ticks. A slow counter makes
        that one longer: of fewer ticks it would be invalid.
        """
        if not seconds:
            return
        parts = IDLE_PARTS if seconds >= IDLE_PARTS * self.shortest_s else 1
        for _ in range(parts):
            with self.whole("idle", who):
                self._clock.sleep(max(seconds / parts, self.shortest_s))

    def repeat(
        self,
        phase: Phase,
        who: Who,
        observed: Observed | None,
        work: Callable[[int], list[Completion]],
        *,
        window_s: float,
        min_iterations: int = 1,
        exactly: int | None = None,
        place: Place | None = None,
    ) -> Window:
        """Repeat ``work(iteration)``, a batch of requests, until both the time and the count are met.

        Or `exactly` so often, whatever the time. `observed` is what does the work.

        The window starts on the counter's tick, and its load a random part of the sensor's cycle
        later, so that no load can keep step with the sensor. That idle part is at most a hundredth
        of the window.
        """
        start = self._begin(observed)
        self._clock.sleep(self._dice.uniform(0, min(SENSOR_PERIOD_S, window_s / 100)))
        done: list[list[Completion]] = []
        least, least_s = (min_iterations, window_s) if exactly is None else (exactly, 0.0)
        while len(done) < least or self._clock.monotonic() - start.time_s < least_s:
            done.append(work(len(done)))
        return self._end(phase, who, start, done, place)

    def watch(
        self, phase: Phase, who: Who, observed: Observed, seconds: float, place: Place
    ) -> tuple[float, float]:
        """Meter `seconds`, longer where the counter steps seldom, of what goes on by itself.

        Its start and end in seconds of ``time.perf_counter``. What came of the work is for `tell`.
        """
        start = self._begin(observed)
        self._clock.sleep(max(seconds, self.shortest_s))
        window = self._end(phase, who, start, [], place)
        ahead_s = self._origin_s + time.perf_counter() - self._clock.monotonic()
        return window.start_s + ahead_s, window.end_s + ahead_s

    def tell(self, codes: Sequence[str], **told: Any) -> None:
        """What came of the work in the window that was taken last, by field, and its further codes."""
        last = self.windows[-1]
        faults = sorted({*last.codes, *codes})
        found = {**dict(last), **told, "codes": faults, "validity": validity(faults)}
        self.windows[-1] = Window.model_validate(found)

    def join(self, log: WallLog) -> None:
        """Add the wall's joules to every window, first where all others are estimates, and its watts
        where no meter of the device told any.

        A log that does not cover every window is refused whole, with its reason.
        """
        try:
            found = [log.span(w.start_s, w.end_s, self.origin_epoch_s) for w in self.windows]
        except Unavailable as reason:
            self._opened.refused["wall"] = str(reason)
            return
        self._opened.notes["wall"] = log.note
        guessed = all(m.provenance == "estimated:model" for m in self._opened.meters)
        self.used = [log.name] if guessed else [*self.used, log.name]
        self.windows = [
            w.model_copy(
                update={
                    "energy": [at_wall] if guessed else [*w.energy, at_wall],
                    "trace": w.trace or log.trace(w.start_s, w.end_s, self.origin_epoch_s),
                }
            )
            for w, at_wall in zip(self.windows, found, strict=True)
        ]

    def energy_j(self) -> float | None:
        """Joules of the first meter so far; null without a meter."""
        return self._opened.meters[0].read().energy_j if self._opened.meters else None

    def no_energy_reason(self) -> str:
        """Why no meter answered."""
        refused = (f"{name}: {why}" for name, why in self._opened.refused.items())
        return "no meter answered: " + "; ".join(refused)

    def _begin(self, observed: Observed | None) -> _Start:
        named = observed.pids() if observed else frozenset()
        self._own.add(named or ())
        if observed:
            observed.reset_peaks()
        # Where other processes do the work, what this one holds is no part of it.
        pids = set() if named is None else set(named) or {os.getpid()}
        memory.reset_peaks(pids)
        waiting = self._own.named - (named or frozenset()) if observed else frozenset()
        pulse = Pulse()
        usage = cpu_load.usage(self._own)
        readings = self._read(observed)
        waited_s = self._own.cpu_s_of(waiting)
        now_s = self._clock.monotonic()
        return _Start(now_s, readings, usage, observed, pids, waiting, waited_s, pulse)

    def _read(self, observed: Observed | None) -> list[Reading]:
        """All meters, the primary one just after its counter has stepped."""
        if observed:
            observed.synchronize()
        first, others = self._opened.meters[:1], self._opened.meters[1:]
        return [at_edge(meter, self._clock) for meter in first] + [meter.read() for meter in others]

    def _end(
        self,
        phase: Phase,
        who: Whose,
        start: _Start,
        done: Sequence[Sequence[Completion]],
        place: Place | None = None,
    ) -> Window:
        self._own.refresh()
        ends = self._read(start.observed)
        end_s = self._clock.monotonic()
        waited_s = self._own.cpu_s_of(start.waiting) - start.waited_s
        triples = list(zip(self._opened.meters, start.readings, ends, strict=True))
        spans = [span(meter, before, after, self._origin_s) for meter, before, after in triples]
        apart, found = self._opened.checked(spans)
        trace = self._opened.trace(start.time_s, end_s)
        found += [code for _, before, after in triples for code in codes(before, after)]
        if phase != "serve":  # between requests a device may well rest
            found += _clock_codes(trace)
        found += short_codes(spans) + start.pulse.codes()
        beside = cpu_load.codes(start.usage, cpu_load.usage(self._own))
        found += [code for code in beside if code in self._watched]
        faults = sorted(set(found))
        each = [request for batch in done for request in batch]
        window = Window(
            phase=phase,
            who=who,
            place=place,
            start_s=round(start.time_s - self._origin_s, 6),
            end_s=round(end_s - self._origin_s, 6),
            iterations=len(done),
            tokens=sum(request.tokens for request in each),
            prompt_tokens=sum(request.prompt_tokens for request in each),
            energy=spans,
            energy_reason=None if spans else self.no_energy_reason(),
            iteration_s=[round(seconds_of(batch), 6) for batch in done],
            ttft=percentiles([request.ttft_s for request in each if request.stamps_s]),
            tpot=percentiles([gap for request in each for gap in request.gaps_s]),
            host_peak_bytes=memory.host_peak_bytes(start.pids),
            device_peak_bytes=start.observed.device_peak_bytes() if start.observed else None,
            waiting_cpu_s=round(max(waited_s, 0.0), 6) if start.waiting else None,
            residual=apart,
            trace=trace,
            validity=validity(faults),
            codes=faults,
        )
        self.windows.append(window)
        return window


class _Start(NamedTuple):
    time_s: float
    readings: list[Reading]
    usage: cpu_load.Usage
    observed: Observed | None
    pids: set[int]
    waiting: frozenset[int]
    """The other model's server."""
    waited_s: float
    """CPU time that it had used by then."""
    pulse: Pulse


def _clock_codes(trace: Trace | None) -> list[str]:
    """``clock_change`` where the SM clock moved by over 5 % within the window."""
    clocks = [mhz for mhz in trace.sm_mhz if mhz] if trace else []
    return ["clock_change"] if clocks and max(clocks) > 1.05 * min(clocks) else []


def short_codes(spans: Sequence[Span]) -> list[str]:
    """``short_window`` where the headline counter stepped too seldom to tell."""
    headline = spans[:1]
    short = any(span.end_s - span.start_s < TICKS * span.tick_s for span in headline)
    return [SHORT] if short else []
