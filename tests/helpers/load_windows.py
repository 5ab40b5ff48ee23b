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
