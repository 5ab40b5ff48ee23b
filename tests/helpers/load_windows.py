"""Windows under load as tests make them: by hand, or of a queue that is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from greenbench.schema.traffic import Gauges, Latencies, Traffic
from greenbench.schema.window import Percentiles, Place, Span, Who, Window

SECONDS = 10.0
NVML = "measured:counter:nvml"


def latencies(seconds: Sequence[float]) -> Latencies:
    """As a recorder keeps them."""
    return Latencies(n=len(seconds), seconds=sorted(map(float, seconds)))


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """As a recorder keeps them."""
    if not len(seconds):
        return None
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99])
    return Percentiles(p50_s=p50, p90_s=p90, p99_s=p99, n=len(seconds))


def serve(
    who: Who,
    block: int,
    load: float,
    *,
    joules: float | None = 1000.0,
    requests: float = 20.0,
    e2e: Sequence[float] = (0.5,) * 20,
    series: str = "block",
    tokens: int | None = None,
    seconds: float = SECONDS,
    provenance: str = NVML,
    queue: float | None = None,
    validity: str = "valid",
    **traffic: Any,
) -> Window:
    """One window; a request is of 10 tokens in and 10 out, a tenth of its time before the first."""
    made = round(10 * requests) if tokens is None else tokens
    ttft, tpot = [0.1 * each for each in e2e], [0.1 * each for each in e2e]
    fields: dict[str, Any] = {
        "due": len(e2e), "ended": len(e2e), "failed": 0, "unfinished": 0, "requests": requests,
        "good": None, "late_s": 0.0, "ttft": latencies(ttft), "tpot": latencies(tpot),
        "e2e": latencies(e2e), "in_flight": [1, 0] * 50, "flight_s": float(sum(e2e)), "busy": 0.5,
        "gauges": queue if queue is None else Gauges(step_s=1, running=[1.0], waiting=[queue, None]),
    }  # fmt: skip
    span = joules if joules is None else Span(
        meter="nvml", boundary="gpu", provenance=provenance, tick_s=0.1, start_s=0.0, start_j=5.0,
        end_s=seconds, end_j=5.0 + joules,
    )  # fmt: skip
    return Window(
        phase="serve", who=who, place=Place(series=series, unit=block, position=0, load=load),
        start_s=0.0, end_s=seconds, iterations=len(e2e), tokens=made, prompt_tokens=10 * len(e2e),
        energy=[span] if span else [], ttft=percentiles(ttft), tpot=percentiles(tpot),
        traffic=Traffic(**(fields | traffic)), validity=validity,
    )  # fmt: skip


class Queue:
    """One server that answers one request after another, or several side by side, first come first served.

    Both models of an A/A run meet the same arrivals and work; each draws its own noise of time and power.
    """

    IDLE_W, BUSY_W, WARM_S = 50.0, 250.0, 30.0

    def __init__(self, seed: int, *, rate: float, cv: float, window_s: float, at_once: int = 4):
        self._dice = np.random.default_rng(seed)
        self._rate, self._cv, self._window_s, self._at_once = rate, cv, window_s, at_once

    def pair(self, block: int) -> list[Window]:
        """The two windows of one block."""
        shape = 1 / self._cv**2
        total_s = 2 * self.WARM_S + self._window_s
        count = round(1.6 * self._rate * total_s) + 20
        gaps = self._dice.gamma(shape, 1 / (shape * self._rate), count)
        due = np.cumsum(gaps)
        due, work = due[due < total_s], self._dice.exponential(1.0, count)
        return [
            self._window(who, block, due, work[: due.size]) for who in ("baseline", "candidate")
        ]

    def _window(self, who: Who, block: int, due: np.ndarray, work: np.ndarray) -> Window:
        start, end = self.WARM_S, self.WARM_S + self._window_s
        begun, done = self._served(due, work * self._dice.lognormal(0, 0.05, work.size))
        inside = np.clip(np.minimum(done, end) - np.maximum(begun, start), 0, None)
        made = float((inside / (done - begun)).sum())
        power_w = (
            self.IDLE_W
            + (self.BUSY_W - self.IDLE_W) * inside.sum() / self._at_once / self._window_s
        )
        mine = (due >= start) & (due < end)
        times = np.arange(start, end, 0.25)
        in_flight = [int(((due <= t) & (done > t)).sum()) for t in times]
        return serve(
            who, block, self._rate, seconds=self._window_s, requests=made,
            joules=power_w * self._window_s * self._dice.lognormal(0, 0.01),
            e2e=(done - due)[mine], ended=int(((done >= start) & (done < end)).sum()),
            in_flight=in_flight,
        )  # fmt: skip

    def _served(self, due: np.ndarray, work: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        free = [0.0] * self._at_once
        begun, done = np.empty_like(due), np.empty_like(due)
        for index, (at, takes) in enumerate(zip(due, work, strict=True)):
            slot = min(range(self._at_once), key=free.__getitem__)
            begun[index] = max(at, free[slot])
            free[slot] = done[index] = begun[index] + takes
        return begun, done
