"""Windows: metered intervals of one phase. No code here knows which device or meter it reads."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from greenbench.analysis.disturbances import TICKS
from greenbench.engines.engine import Iteration
from greenbench.errors import Unavailable
from greenbench.machine import cpu_load, memory
from greenbench.meters import OpenMeters
from greenbench.meters.meter import Reading, at_edge, codes, residual, span
from greenbench.meters.nvml_power import NvmlPower
from greenbench.meters.wall_log import WallLog
from greenbench.schema.codes import validity
from greenbench.schema.record import Percentiles, Phase, Span, Trace, Window

IDLE_PARTS = 3  # one window has no spread
SENSOR_PERIOD_S = 0.1  # GPU power sensors look in cycles of up to this long (arXiv 2312.02741)


class Recorder:
    """Takes every window of one run with the same meters, on one clock."""

    def __init__(self, meters: OpenMeters, device: torch.device, seed: int = 0) -> None:
        """`meters` may be empty: windows then say why they have no joules."""
        self._opened = meters
        self._device = device
        self._dice = random.Random(seed)
        self._origin_s = time.monotonic()
        self.origin_epoch_s = time.time()
        self.windows: list[Window] = []
        self.used = [meter.name for meter in meters.meters]

    @contextmanager
    def whole(self, phase: Phase, who: Any) -> Iterator[None]:
        """Meter the block of code as one window of `phase`, such as prepare or score."""
        start = self._begin()
        yield
        self._end(phase, who, start, [])

    def idle(self, who: Any, seconds: float) -> None:
        """Meter `seconds` in which nothing runs, while `who` is loaded.

        As `IDLE_PARTS` windows, or fewer where they would be of too few ticks.
        """
        least_s = max((TICKS * meter.tick_s for meter in self._opened.meters[:1]), default=0.0)
        parts = IDLE_PARTS if seconds >= IDLE_PARTS * least_s else 1
        for _ in range(parts if seconds > 0 else 0):
            with self.whole("idle", who):
                time.sleep(seconds / parts)

    def repeat(
        self,
        phase: Phase,
        who: Any,
        work: Callable[[int], Iteration],
        *,
        window_s: float,
        min_iterations: int = 1,
        exactly: int | None = None,
        **place: Any,
    ) -> Window:
        """Repeat ``work(iteration)`` until both the time and the count are met, as one window.

        Or `exactly` so often, whatever the time. `place` is where the window stands: block or
        round, position, bin.

        The window starts on the counter's tick, and its load a random part of the sensor's cycle
        later, so that no load can keep step with the sensor. That idle part is at most a hundredth
        of the window.
        """
        start = self._begin()
        time.sleep(self._dice.uniform(0, min(SENSOR_PERIOD_S, window_s / 100)))
        done: list[Iteration] = []
        least, least_s = (min_iterations, window_s) if exactly is None else (exactly, 0.0)
        while len(done) < least or time.monotonic() - start.time_s < least_s:
            done.append(work(len(done)))
        return self._end(phase, who, start, done, **place)

    def join(self, log: WallLog) -> None:
        """Add the wall's joules to every window, first where all others are estimates.

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
            w.model_copy(update={"energy": [at_wall] if guessed else [*w.energy, at_wall]})
            for w, at_wall in zip(self.windows, found, strict=True)
        ]

    def energy_j(self) -> float | None:
        """Joules of the first meter so far; null without a meter."""
        return self._opened.meters[0].read().energy_j if self._opened.meters else None

    def no_energy_reason(self) -> str:
        """Why no meter answered."""
        refused = (f"{name}: {why}" for name, why in self._opened.refused.items())
        return "no meter answered: " + "; ".join(refused)

    def _begin(self) -> _Start:
        memory.reset_peaks(self._device)
        usage = cpu_load.usage()
        readings = self._read()
        return _Start(time.monotonic(), readings, usage)

    def _read(self) -> list[Reading]:
        """All meters, the primary one just after its counter has stepped."""
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        first, others = self._opened.meters[:1], self._opened.meters[1:]
        return [at_edge(meter, time) for meter in first] + [meter.read() for meter in others]

    def _end(
        self,
        phase: Phase,
        who: Any,
        start: _Start,
        done: Sequence[Iteration],
        **place: Any,
    ) -> Window:
        ends = self._read()
        end_s = time.monotonic()
        triples = list(zip(self._opened.meters, start.readings, ends, strict=True))
        spans = [span(meter, before, after, self._origin_s) for meter, before, after in triples]
        apart, found = _check(spans)
        trace = self._trace(start.time_s, end_s)
        found += [code for _, before, after in triples for code in codes(before, after)]
        found += _clock_codes(trace)
        found += _short_codes(spans)
        if self._device.type == "cpu":
            found += cpu_load.codes(start.usage, cpu_load.usage())
        faults = sorted(set(found))
        window = Window(
            phase=phase,
            who=who,
            **place,
            start_s=round(start.time_s - self._origin_s, 6),
            end_s=round(end_s - self._origin_s, 6),
            iterations=len(done),
            tokens=sum(iteration.tokens for iteration in done),
            prompt_tokens=sum(iteration.prompt_tokens for iteration in done),
            energy=spans,
            energy_reason=None if spans else self.no_energy_reason(),
            iteration_s=[round(iteration.seconds, 6) for iteration in done],
            ttft=percentiles([iteration.ttft_s for iteration in done]),
            tpot=percentiles([gap for iteration in done for gap in iteration.gaps_s]),
            host_peak_bytes=memory.host_peak_bytes(),
            device_peak_bytes=memory.device_peak_bytes(self._device),
            residual=apart,
            trace=trace,
            validity=validity(faults),
            codes=faults,
        )
        self.windows.append(window)
        return window

    def _trace(self, start_s: float, end_s: float) -> Trace | None:
        for meter in self._opened.meters:
            if isinstance(meter, NvmlPower):
                return meter.trace(start_s, end_s)
        return None


class _Start(NamedTuple):
    time_s: float
    readings: list[Reading]
    usage: cpu_load.Usage


def _clock_codes(trace: Trace | None) -> list[str]:
    """``clock_change`` where the SM clock moved by over 5 % within the window."""
    clocks = [mhz for mhz in trace.sm_mhz if mhz] if trace else []
    return ["clock_change"] if clocks and max(clocks) > 1.05 * min(clocks) else []


def _short_codes(spans: Sequence[Span]) -> list[str]:
    """``short_window`` where the headline counter stepped too seldom to tell."""
    headline = spans[:1]
    short = any(span.end_s - span.start_s < TICKS * span.tick_s for span in headline)
    return ["short_window"] if short else []


def _check(spans: Sequence[Span]) -> tuple[float | None, list[str]]:
    """Residual of the NVML counter against its independent check, where both were read."""
    by_meter = {span.meter: span for span in spans}
    if "nvml" in by_meter and "nvml_power" in by_meter:
        return residual(by_meter["nvml"], by_meter["nvml_power"])
    return None, []


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """p50, p90 and p99 of raw latencies, or null of none."""
    if not seconds:
        return None
    p50, p90, p99 = (round(float(value), 7) for value in np.percentile(seconds, [50, 90, 99]))
    return Percentiles(p50_s=p50, p90_s=p90, p99_s=p99, n=len(seconds))
