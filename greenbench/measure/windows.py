"""Windows: metered intervals of one phase. No code here knows which device or meter it reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from greenbench.measure import memory
from greenbench.measure.workloads import Iteration
from greenbench.meters import OpenMeters
from greenbench.meters.counter import Reading, codes, span, validity
from greenbench.records import Percentiles, Phase, Who, Window


class Recorder:
    """Takes every window of one run with the same meters, on one clock."""

    def __init__(self, meters: OpenMeters, device: torch.device) -> None:
        """`meters` may be empty: windows then say why they have no joules."""
        self._meters = meters
        self._device = device
        self._origin_s = time.monotonic()
        self.windows: list[Window] = []

    @contextmanager
    def whole(self, phase: Phase, who: Who) -> Iterator[None]:
        """Meter the block of code as one window of `phase`, such as prepare or score."""
        start_s, readings = self._begin()
        yield
        self.windows.append(self._end(phase, who, start_s, readings, []))

    def repeat(
        self,
        phase: Phase,
        who: Who,
        work: Callable[[int], Iteration],
        *,
        window_s: float,
        min_iterations: int,
        block: int,
        position: int,
    ) -> Window:
        """Repeat ``work(iteration)`` until both the time and the count are met, as one window."""
        start_s, readings = self._begin()
        done: list[Iteration] = []
        while len(done) < min_iterations or time.monotonic() - start_s < window_s:
            done.append(work(len(done)))
        window = self._end(phase, who, start_s, readings, done, block=block, position=position)
        self.windows.append(window)
        return window

    def _begin(self) -> tuple[float, list[Reading]]:
        memory.reset_peaks(self._device)
        self._synchronize()
        readings = [meter.read() for meter in self._meters.meters]
        return time.monotonic(), readings

    def _end(
        self,
        phase: Phase,
        who: Who,
        start_s: float,
        readings: Sequence[Reading],
        done: Sequence[Iteration],
        block: int | None = None,
        position: int | None = None,
    ) -> Window:
        self._synchronize()
        end_s = time.monotonic()
        ends = [meter.read() for meter in self._meters.meters]
        faults = sorted(
            {code for pair in zip(readings, ends, strict=True) for code in codes(*pair)}
        )
        gaps = [gap for iteration in done for gap in iteration.gaps_s]
        return Window(
            phase=phase,
            who=who,
            block=block,
            position=position,
            start_s=round(start_s - self._origin_s, 6),
            end_s=round(end_s - self._origin_s, 6),
            iterations=len(done),
            tokens=sum(iteration.tokens for iteration in done),
            prompt_tokens=sum(iteration.prompt_tokens for iteration in done),
            energy=[
                span(meter, start, end, self._origin_s)
                for meter, start, end in zip(self._meters.meters, readings, ends, strict=True)
            ],
            energy_reason=None if self._meters.meters else self.no_energy_reason(),
            iteration_s=[round(iteration.seconds, 6) for iteration in done],
            ttft=percentiles([iteration.ttft_s for iteration in done]),
            tpot=percentiles(gaps),
            host_peak_bytes=memory.host_peak_bytes(),
            device_peak_bytes=memory.device_peak_bytes(self._device),
            validity=validity(faults),
            codes=faults,
        )

    def no_energy_reason(self) -> str:
        """Why no meter answered."""
        return "no meter answered: " + "; ".join(
            f"{name}: {why}" for name, why in self._meters.refused.items()
        )

    def _synchronize(self) -> None:
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """p50, p90 and p99 of raw latencies, or null of none."""
    if not seconds:
        return None
    p50, p90, p99 = (round(float(value), 7) for value in np.percentile(seconds, [50, 90, 99]))
    return Percentiles(p50_s=p50, p90_s=p90, p99_s=p99, n=len(seconds))
