"""How sure a joule is: standard uncertainties, combined as in the GUM (JCGM 100:2008)."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt
from typing import Final

from greenbench.analysis.readings import ANSWERED, joules
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.quantity import Boundary, Provenance, Quantity
from greenbench.schema.uncertainty import COVERS, Uncertainty
from greenbench.schema.window import WHO, Window
from greenbench.stats.intervals import t_quantile

GAIN: Final[dict[Provenance, float]] = {
    "measured:counter:nvml": 0.05,
    "measured:integrated:nvml": 0.05,
}
"""Largest gain error of a meter's sensor; arXiv 2312.02741 measured it on over 70 GPUs."""
POLLS_PER_TICK: Final = 50  # a tick-aligned reading comes at most this part of a tick late
COVERAGE_FACTOR: Final = 2.0  # about 95 %, GUM 6.3.3


def uncertainty(
    energy: Quantity,
    *,
    tick_s: float,
    window_s: float,
    boundary: Boundary,
    aligned: bool,
    read_s: float = 0.0,
    edges: float = 0.0,
) -> Uncertainty:
    """Budget of a level in joules, or of a ratio of two (unit ``ratio``), for windows of `window_s`.

    ====================  ===========================================================================
    tick                  lag / (sqrt(6) window): two readings, each late by a uniform time up to
                          `lag`, differ by a triangular error (GUM 4.3.9). The lag is one tick, or
                          1/50 tick if `aligned`, and `read_s`, as long as a reading takes. A ratio
                          has two windows: times sqrt(2)
    edges                 share of the joules that windows held while no request ran: it is on one
                          side, is known and is not taken off, so that it counts whole (GUM F.2.4.5).
                          Of a ratio, what is left of it
    repeats               (high - low) / (2 t value), t = t(0.975, n - 1): type A, GUM 4.2
    gain                  0.05 / sqrt(3) for NVML: uniform within +-5 % (GUM 4.3.7, arXiv
                          2312.02741). It is the same in both windows of a ratio and cancels
    total                 sqrt(tick^2 + edges^2 + repeats^2 + gain^2), GUM 5.1.2
    ====================  ===========================================================================

    Repeats already hold what ticks scatter between blocks: the total counts it twice, on the safe
    side, for ticks may lock to the workload and then scatter nothing.
    """
    is_ratio = energy.unit == "ratio"
    lag = ((tick_s / POLLS_PER_TICK if aligned else tick_s) + read_s) / window_s
    tick = lag / sqrt(6) * (sqrt(2) if is_ratio else 1)
    repeats, sensor = _repeats(energy), GAIN.get(energy.provenance)
    gain = None if is_ratio or sensor is None else sensor / sqrt(3)
    reason = _no_total(energy, repeats, known_gain=is_ratio or gain is not None)
    total = None if reason else hypot(tick, edges, repeats or 0, gain or 0)
    return Uncertainty(
        tick=tick,
        tick_bound=2 * lag * (2 if is_ratio else 1),
        edges=edges,
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


def budgets(
    windows: Sequence[Window], candidate: Quantity, ratio: Quantity, resting: Quantity
) -> dict[str, Uncertainty]:
    """Uncertainty budgets of the headline energy, absolute and as a ratio; empty without a meter.

    Power at rest, `resting`, is what the edges of windows draw. Where it is not known they count in full.
    """
    headline = [w for w in windows if w.phase in ANSWERED and w.energy]
    if not headline:
        return {}
    spans = [window.energy[0] for window in headline]
    before, after = (edges([w for w in headline if w.who == who], resting.value) for who in WHO)
    return {
        name: uncertainty(
            quantity,
            tick_s=spans[0].tick_s,
            window_s=min(span.end_s - span.start_s for span in spans),
            boundary=spans[0].boundary,
            # What is integrated does not step, so that nothing waits for its step.
            aligned=spans[0].provenance.startswith("measured:counter"),
            read_s=max(span.read_s or 0.0 for span in spans),
            edges=at_edges,
        )
        for name, quantity, at_edges in (
            (f"candidate.{ENERGY_PER_TOKEN.name}", candidate, after),
            (f"ratio.{ENERGY_PER_TOKEN.ratio}", ratio, abs(after - before)),
        )
    }


def edges(windows: Sequence[Window], resting_w: float | None) -> float:
    """Mean share of the windows' joules that they held while no request ran; 0 where they come at any time.

    At `resting_w`, and never at more than the window's own mean power: null counts at that.
    """
    told = [w for w in windows if w.phase == "generate" and w.iteration_s]
    shares = [_at_edges(window, resting_w) for window in told]
    return sum(shares) / len(shares) if shares else 0.0


def _at_edges(window: Window, resting_w: float | None) -> float:
    span, counted_j = window.energy[0], joules(window)
    seconds = span.end_s - span.start_s
    idle_s = min(max(seconds - sum(window.iteration_s), 0.0), seconds)
    mean_w = (counted_j or 0.0) / seconds
    lower = resting_w is not None and 0 <= resting_w < mean_w
    return idle_s / seconds * (resting_w / mean_w if lower else 1.0)  # type: ignore[operator]
