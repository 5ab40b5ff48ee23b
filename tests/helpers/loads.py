"""Runs under load for the report's tests. The numbers are inputs by closed forms, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from greenbench.schema import metrics as m
from greenbench.schema.metrics import Metric
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.traffic import AtLoad, Capacity, Crossing, LoadCurve, LoadPoint, Side
from helpers import examples

RAPL: Provenance = "measured:counter:rapl"
CLOCK: Provenance = "measured:clock"
RATES = (0.5, 1.0, 2.0, 4.0, 8.0)
IDLE_W, BLOCKS, TOKENS = 20.0, 5, 64
UNBOUNDED = "unbounded: the queue grew for as long as was looked"
FEW = "60 requests are too few: the 99th percentile needs 100"
LIMITS = {"ttft_ms": 800.0, "tpot_ms": 40.0}
Winner = Literal["crosses", "candidate", "unknown"]
ENERGIES = (m.ENERGY_PER_REQUEST, m.MARGINAL_ENERGY_PER_REQUEST, m.ENERGY_PER_TOKEN,
            m.ENERGY_PER_ANY_TOKEN, m.POWER)  # fmt: skip
RATIOS = (*ENERGIES, m.THROUGHPUT, m.GOODPUT, m.TTFT, m.TPOT, m.E2E, m.E2E_P90, m.E2E_P99)


class Model(NamedTuple):
    """One model by a closed form: what a request takes, and how many a second it can answer."""

    request_j: float
    """Above idle, at no load."""
    slope: float
    """By which share that grows with each request per second; below 0 where batches pay."""
    alone_s: float
    """To answer one request alone."""
    most: float
    """Requests per second."""

    def marginal_j(self, rate: float) -> float:
        """Joules of a request above idle."""
        grown = 1 + self.slope * rate
        return self.request_j * grown if self.slope > 0 else self.request_j / (2 - grown)

    def waits(self, rate: float) -> float:
        """How many times as long as alone a request takes in the mean."""
        share = rate / self.most
        return 1 + share / (1 - share) / 2


BASELINE = Model(request_j=40.0, slope=-0.15, alone_s=1.2, most=13.0)
CANDIDATE = Model(request_j=18.0, slope=0.14, alone_s=0.7, most=7.0)
"""Cheaper and faster alone; it gains nothing by batching, and is saturated first."""


def spec(rates: Sequence[float] = RATES, *, limits: bool = False, **changes: Any) -> dict[str, Any]:
    """Changes of a spec that make it one under load."""
    load = {"arrivals": "poisson", "rate": rates[0] if len(rates) == 1 else list(rates)}
    work = {"name": "online", "output_tokens": TOKENS, "chat_template": True}
    found: dict[str, Any] = {"load": load, "workload": work} | changes
    return found | ({"slo": LIMITS} if limits else {})


def quantity(value: float, share: float, unit: str, provenance: Provenance = CLOCK) -> Quantity:
    """A number with an interval of that share of it to each side."""
    low, high = value * (1 - share), value * (1 + share)
    return Quantity(value=value, unit=unit, provenance=provenance, n=BLOCKS, low=low, high=high)


def at_load(model: Model, rate: float, source: Provenance, spread: float, *, few: bool) -> AtLoad:
    """One model at one rate; above what it can answer its latencies are unbounded."""
    saturated = rate > model.most
    done = min(rate, 0.97 * model.most)
    marginal = model.marginal_j(done)
    whole = marginal + IDLE_W / done
    energy = (whole, marginal, whole / TOKENS, whole / (2 * TOKENS), whole * done)
    found = {
        e.name: quantity(j, spread, e.unit, source) for e, j in zip(ENERGIES, energy, strict=True)
    }
    if source == "unavailable":
        found = {e.name: missing(e.unit, "no counter moved") for e in ENERGIES}
    found |= _latencies(model, rate, few=few) if not saturated else _unbounded()
    good = 0.2 if saturated else 1.03 - 0.03 * model.waits(rate)
    rest = (
        (m.THROUGHPUT, done), (m.GOODPUT, good * done), (m.GOOD, good),
        (m.BUSY, min(1.0, done / model.most + 0.1)), (m.IN_FLIGHT, done * model.alone_s),
    )  # fmt: skip
    found |= {metric.name: quantity(value, 0.03, metric.unit) for metric, value in rest}
    found |= {
        each.name: missing(each.unit, "the engine does not tell") for each in (m.BATCH, m.QUEUE)
    }
    return AtLoad(metrics=found, saturated=saturated)


def _latencies(model: Model, rate: float, *, few: bool) -> dict[str, Quantity]:
    mean, token = model.alone_s * model.waits(rate), model.alone_s / TOKENS
    parts: tuple[tuple[tuple[Metric, Metric, Metric], float], ...] = (
        ((m.TTFT, m.TTFT_P90, m.TTFT_P99), 0.2 * mean),
        ((m.TPOT, m.TPOT_P90, m.TPOT_P99), token * model.waits(rate)),
        ((m.E2E, m.E2E_P90, m.E2E_P99), mean),
    )
    found = {
        metric.name: quantity(seconds * tail, 0.05 * tail, "s")
        for metrics, seconds in parts
        for metric, tail in zip(metrics, (0.9, 1.6, 2.8), strict=True)
    }
    return found | {metrics[2].name: missing("s", FEW) for metrics, _ in parts if few}


def _unbounded() -> dict[str, Quantity]:
    found = (m.TTFT, m.TTFT_P90, m.TTFT_P99, m.E2E, m.E2E_P90, m.E2E_P99)
    paced = (m.TPOT, m.TPOT_P90, m.TPOT_P99)
    known = {metric.name: quantity(0.05, 0.1, "s") for metric in paced}
    return known | {metric.name: missing("s", UNBOUNDED) for metric in found}


def point(
    rate: float, candidate: Model, source: Provenance, spread: float, *, few: bool = False
) -> LoadPoint:
    """Both models at one rate."""
    sides = [at_load(model, rate, source, spread, few=few) for model in (BASELINE, candidate)]
    ratios = {}
    for metric in RATIOS:
        before, after = (metric.level(side.metrics) for side in sides)
        whole = before.value and after.value
        why = before.reason or after.reason or "one side is missing"
        ratios[metric.ratio] = (
            quantity(after.value / before.value, 0.6 * spread, "ratio", after.provenance)
            if whole
            else missing("ratio", why)
        )
    return LoadPoint(
        load=rate, blocks=BLOCKS, baseline=sides[0], candidate=sides[1], ratios=ratios
    )  # fmt: skip


def curve(
    winner: Winner = "crosses",
    *,
    rates: Sequence[float] = RATES,
    source: Provenance = RAPL,
    limits: bool = False,
    few: bool = False,
) -> LoadCurve:
    """All rates: below the crossing the candidate takes less energy, above it the baseline."""
    candidate = (
        CANDIDATE if winner != "candidate" else BASELINE._replace(request_j=24.0, alone_s=0.9)
    )
    spread = 0.4 if winner == "unknown" else 0.04
    points = [point(rate, candidate, source, spread, few=few) for rate in rates]
    return LoadCurve(
        unit="request/s",
        headline=rates[len(rates) // 2],
        points=points,
        capacity=_capacity(points, limits=limits),
        crossing=_crossing(winner, source),
        correlation_s=quantity(0.8, 0.2, "s"),
    )


def _capacity(points: Sequence[LoadPoint], *, limits: bool) -> dict[Side, Capacity]:
    """Without limits there is no such rate."""
    if not limits:
        return {}
    kept: dict[Side, LoadPoint] = {"baseline": points[-1], "candidate": points[-2:][0]}
    return {
        side: Capacity(
            load=quantity(at.load, 0.0, "request/s").model_copy(update={"high": 2 * at.load}),
            energy_per_request=m.ENERGY_PER_REQUEST.level(getattr(at, side).metrics),
        )
        for side, at in kept.items()
    }


def _crossing(winner: Winner, source: Provenance) -> Crossing:
    if winner == "crosses":
        return Crossing(load=quantity(2.9, 0.12, "request/s", source), below="candidate")
    if winner == "candidate":
        why = "not shown: the candidate takes less at every measured load"
        return Crossing(load=missing("request/s", why), below="candidate")
    why = "not shown: at no two loads is the one shown to take less, and then the other"
    return Crossing(load=missing("request/s", why), below=None)


def completed(
    technique: str = "int4",
    winner: Winner = "crosses",
    *,
    rates: Sequence[float] = RATES,
    source: Provenance = RAPL,
    limits: bool = False,
    few: bool = False,
    **changes: Any,
) -> Record:
    """A completed run under load; `few`: too few requests for a p99.

    `changes` replace parts of its spec, `load` among them, or fields of the record.
    """
    found = curve(winner, rates=rates, source=source, limits=limits, few=few)
    fields = {k: changes.pop(k) for k in tuple(changes) if k in Record.model_fields and k != "load"}
    given = {"device": examples.CPU} | spec(rates, limits=limits) | changes
    fields |= {"load": found, "spec": examples.spec(technique, **given)}
    if source == "unavailable":
        return examples.completed(technique, energy=None, **fields)
    return examples.completed(technique, source=source, **fields)
