"""How sure a joule is: standard uncertainties, combined as in the GUM (JCGM 100:2008)."""

from __future__ import annotations

from math import sqrt
from typing import Final

from greenbench.schema.quantity import Boundary, Provenance, Quantity
from greenbench.schema.uncertainty import COVERS, Uncertainty
from greenbench.stats.intervals import t_quantile

GAIN: Final[dict[Provenance, float]] = {
    "measured:counter:nvml": 0.05,
    "measured:integrated:nvml": 0.05,
}
"""Largest gain error of a meter's sensor; arXiv 2312.02741 measured it on over 70 GPUs."""
POLLS_PER_TICK: Final = 50  # a tick-aligned reading comes at most this part of a tick late
COVERAGE_FACTOR: Final = 2.0  # about 95 %, GUM 6.3.3


def uncertainty(
    energy: Quantity, *, tick_s: float, window_s: float, boundary: Boundary, aligned: bool
) -> Uncertainty:
    """Budget of a level in joules, or of a ratio of two (unit ``ratio``), for windows of `window_s`.

    ====================  ===========================================================================
    tick                  lag / (sqrt(6) window): two readings, each late by a uniform time up to
                          `lag`, differ by a triangular error (GUM 4.3.9). The lag is one tick, or
                          1/50 tick if `aligned`. A ratio has two windows: times sqrt(2)
    repeats               (high - low) / (2 t value), t = t(0.975, n - 1): type A, GUM 4.2
    gain                  0.05 / sqrt(3) for NVML: uniform within +-5 % (GUM 4.3.7, arXiv
                          2312.02741). It is the same in both windows of a ratio and cancels
    total                 sqrt(tick^2 + repeats^2 + gain^2), GUM 5.1.2
    ====================  ===========================================================================

    Repeats already hold what ticks scatter between blocks: the total counts it twice, on the safe
    side, for ticks may lock to the workload and then scatter nothing.
    """
    is_ratio = energy.unit == "ratio"
    lag = (tick_s / POLLS_PER_TICK if aligned else tick_s) / window_s
    tick = lag / sqrt(6) * (sqrt(2) if is_ratio else 1)
    repeats, sensor = _repeats(energy), GAIN.get(energy.provenance)
    gain = None if is_ratio or sensor is None else sensor / sqrt(3)
    reason = _no_total(energy, repeats, known_gain=is_ratio or gain is not None)
    total = None if reason else sqrt(tick**2 + (repeats or 0) ** 2 + (gain or 0) ** 2)
    return Uncertainty(
        tick=tick,
        tick_bound=2 * lag * (2 if is_ratio else 1),
        repeats=repeats,
        gain=gain,
        boundary=COVERS[boundary],
        total=total,
        expanded=None if total is None else COVERAGE_FACTOR * total,
        reason=reason,
    )


def _repeats(energy: Quantity) -> float | None:
    if not energy.value or energy.low is None or energy.high is None or energy.n < 2:
        return None
    return (energy.high - energy.low) / (2 * t_quantile(energy.n) * abs(energy.value))


def _no_total(energy: Quantity, repeats: float | None, *, known_gain: bool) -> str | None:
    if not energy.is_measured:
        return f"{energy.provenance} is no measurement: it has bounds of a model, or nothing"
    if repeats is None:
        return energy.reason or "a value of 0 has no relative uncertainty"
    if not known_gain:
        return f"the gain error of {energy.provenance} is not known here: compare ratios"
    return None
