"""Windows under load as tests make them: by hand, or of a queue that is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from greenbench.analysis import blocks
from greenbench.analysis.load_curve import load_curve
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record
from greenbench.schema.resolved import ResolvedSlo
from greenbench.schema.traffic import Gauges, Latencies, Traffic
from greenbench.schema.window import WHO, Percentiles, Place, Span, Who, Window
from helpers import examples
from helpers.examples import quantity

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
            flight_s=float(
                np.clip(np.minimum(done, end) - np.maximum(due, start), 0, None).sum()
            ),
        )  # fmt: skip

    def _served(self, due: np.ndarray, work: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        free = [0.0] * self._at_once
        begun, done = np.empty_like(due), np.empty_like(due)
        for index, (at, takes) in enumerate(zip(due, work, strict=True)):
            slot = min(range(self._at_once), key=free.__getitem__)
            begun[index] = max(at, free[slot])
            free[slot] = done[index] = begun[index] + takes
        return begun, done


RATES = (1.0, 2.0, 4.0, 8.0)
IDLE_W = 50.0
NOISE = (1.01, 0.99, 1.02, 0.98)


def at_rates(
    watts: dict[Who, float],
    most: dict[Who, float],
    *,
    rates: Sequence[float] = RATES,
    noise: Sequence[float] = NOISE,
    idle: Quantity | None = None,
    slo: dict[str, float] | None = None,
    good: dict[Who, dict[float, int]] | None = None,
    source: str = NVML,
    tier: str = "dev",
    unit: str = "request/s",
    **changes: Any,
) -> Record:
    """A run of `saver` in four blocks: each model's device draws `IDLE_W`, and `watts` more for each
    request per second, and serves `most` of them; a request takes half a second, up to that.

    The candidate's joules above idle have the `noise` of the blocks.
    """
    windows = []
    for block, rate in product(range(len(noise)), rates):
        for who in WHO:
            count, share = round(rate * SECONDS), noise[block] if who == "candidate" else 1.0
            power_w = IDLE_W + watts[who] * min(rate, most[who]) * share
            windows.append(serve(
                who, block, rate, joules=power_w * SECONDS, requests=count, e2e=[0.5] * count,
                ended=count if rate <= most[who] else round(most[who] * SECONDS),
                series="block" if rate == rates[len(rates) // 2] else "load",
                busy=min(1.0, rate / most[who]), provenance=source,
                good=(good or {}).get(who, {}).get(rate, count) if slo else None,
            ))  # fmt: skip
    known = {"both": idle or quantity(IDLE_W, 0.5, "W", source)}
    limits = SloSpec(**(slo or {}))
    curve = load_curve(windows, known, limits, unit, rates[len(rates) // 2], "none")
    load = {"arrivals": "poisson", "rate": list(rates)}
    spec = examples.spec("saver", tier, load=load, workload={"name": "online"},
                         **({"slo": ResolvedSlo(**vars(limits))} if slo else {}))  # fmt: skip
    own = [w for w in windows if w.block is not None]
    levels = {
        who: examples.subject(blocks.metrics(own, who, "")["energy_per_token_j"], 50, 1_000_000)
        for who in WHO
    }
    values = {
        "windows": windows, "load": curve, "idle": known, "spec": spec,
        "ratios": blocks.ratios(own, "") | {"model_bytes": quantity(0.5, None, "ratio")},
        "verdicts": blocks.verdicts(own, tier, "valid"),
        "command": "greenbench bench technique=saver workload=online load.rate=[1,2,4,8]",
    }  # fmt: skip
    return examples.completed("saver", **(values | levels | changes))
