"""What table, picture and page ask alike of a run under load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from greenbench.analysis.groups.rows import Row
from greenbench.schema.metrics import (
    E2E,
    E2E_P90,
    E2E_P99,
    ENERGY_PER_REQUEST,
    TPOT,
    TPOT_P90,
    TPOT_P99,
    TTFT,
    TTFT_P90,
    TTFT_P99,
    Metric,
)
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.traffic import LoadCurve, LoadPoint
from greenbench.schema.window import WHO
from greenbench.wording import ESTIMATE

UNBOUNDED: Final = "unbounded"
"""What stands for a latency where requests come faster than they are answered; its reason starts so."""
WHOLE: Final = (E2E_P99, E2E_P90, E2E)
FIRST_TOKEN: Final = (TTFT_P99, TTFT_P90, TTFT)
LATER_TOKENS: Final = (TPOT_P99, TPOT_P90, TPOT)
"""Percentiles of a latency, from the highest down."""
PERCENTILES: Final = ("p99", "p90", "p50")
UNITS: Final = {"request/s": "requests/s", "users": "users"}


def loaded(rows: Iterable[Row]) -> list[tuple[Row, LoadCurve]]:
    """The runs under load."""
    return [(row, found) for row in rows if (found := row.record.load) and found.points]


def is_unbounded(found: Quantity) -> bool:
    """Whether a latency is missing because the queue grew, or because requests were given up on."""
    return found.value is None and (found.reason or "").startswith(UNBOUNDED)


def pair(point: LoadPoint, metric: Metric) -> tuple[Quantity, Quantity]:
    """A number of the baseline and of the candidate."""
    return metric.level(point.baseline.metrics), metric.level(point.candidate.metrics)


def tail(curve: LoadCurve, latency: Sequence[Metric] = WHOLE) -> tuple[Metric, str]:
    """The highest percentile that is known at every load, or else the one that is known most often.

    Few requests, as at the lowest loads, have no p99.
    """
    counts = [sum(_is_known(each) for each in at_all(curve, metric)) for metric in latency]
    best = counts.index(max(counts))
    return latency[best], PERCENTILES[best]


def at_all(curve: LoadCurve, metric: Metric) -> list[Quantity]:
    """A number of both models at each load."""
    return [found for point in curve.points for found in pair(point, metric)]


def _is_known(found: Quantity) -> bool:
    return found.value is not None or is_unbounded(found)


def saturated(curve: LoadCurve) -> dict[str, list[float]]:
    """By model, the loads at which its queue grew; a model that kept up is left out."""
    found = {
        who: [point.load for point in curve.points if getattr(point, who).saturated] for who in WHO
    }
    return {who: loads for who, loads in found.items() if loads}


def winner(curve: LoadCurve, candidate: str, told: Callable[[Quantity], str]) -> str:
    """One sentence: which model takes less energy per request, always-on, at which loads."""
    found, unit = curve.crossing, UNITS[curve.unit]
    if found.load.value is None or found.below is None:
        mark = f" ({ESTIMATE})" if _estimated(curve) else ""
        return f"No crossing is shown{mark}: {_why(found.load.reason, told)}."
    names = {"baseline": "the baseline", "candidate": candidate}
    under = names.pop(found.below)
    (above,) = names.values()
    reason = found.load.reason if found.load.bounds else None
    more = f" ({_why(reason, told)})" if reason else ""
    return (
        f"The winner changes at {told(found.load)} {unit}{more}: below it {under} takes less energy per "
        f"request, above it {above}."
    )


def _estimated(curve: LoadCurve) -> bool:
    return any(pair(point, ENERGY_PER_REQUEST)[0].is_estimate for point in curve.points)


def _why(reason: str | None, told: Callable[[Quantity], str]) -> str:
    """A reason as `told` sets it, without saying twice that something is not shown."""
    words = told(missing("", reason or "no reason was recorded"))
    return words.removeprefix("n/a (").removesuffix(")").removeprefix("not shown: ")
