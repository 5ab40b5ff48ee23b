"""From windows to numbers: levels per model and candidate-over-baseline ratios, paired by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from greenbench.analysis.uncertainty import uncertainty
from greenbench.analysis.verdicts import judge
from greenbench.schema.codes import Validity
from greenbench.schema.metrics import (
    DECODE_ENERGY_PER_TOKEN,
    ENERGY_PER_TOKEN,
    ENERGY_PER_TOKEN_HIGH,
    ENERGY_PER_TOKEN_LOW,
    PREFILL_ENERGY,
    TOKENS_PER_S,
    TPOT,
    TPOT_P90,
    TPOT_P99,
    TTFT,
    TTFT_P90,
    TTFT_P99,
    Metric,
)
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.uncertainty import Uncertainty
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import Phase, Who, Window
from greenbench.stats.intervals import Interval, geometric_mean, mean_interval, paired_ratio

Value = Callable[[Window], float | None]


NO_VALUE = "not seen in every block, or every block is invalid"


class Reading(NamedTuple):
    """How a metric is read off a block's window of one phase."""

    metric: Metric
    phase: Phase
    value: Value
    energy: bool = False


def joules(window: Window) -> float | None:
    """Joules of one window by the first meter; null without one."""
    return window.energy[0].end_j - window.energy[0].start_j if window.energy else None


def _per(joules: float | None, count: int) -> float | None:
    return None if joules is None else joules / count


READINGS = (
    Reading(ENERGY_PER_TOKEN, "generate", lambda w: _per(joules(w), w.tokens), energy=True),
    Reading(ENERGY_PER_TOKEN_LOW, "generate",
            lambda w: _per(w.energy[0].low_j, w.tokens) if w.energy else None, energy=True),
    Reading(ENERGY_PER_TOKEN_HIGH, "generate",
            lambda w: _per(w.energy[0].high_j, w.tokens) if w.energy else None, energy=True),
    Reading(PREFILL_ENERGY, "prefill", lambda w: _per(joules(w), w.iterations), energy=True),
    Reading(TTFT, "prefill", lambda w: w.ttft.p50_s if w.ttft else None),
    Reading(TTFT_P90, "prefill", lambda w: w.ttft.p90_s if w.ttft else None),
    Reading(TTFT_P99, "prefill", lambda w: w.ttft.p99_s if w.ttft else None),
    Reading(TPOT, "generate", lambda w: w.tpot.p50_s if w.tpot else None),
    Reading(TPOT_P90, "generate", lambda w: w.tpot.p90_s if w.tpot else None),
    Reading(TPOT_P99, "generate", lambda w: w.tpot.p99_s if w.tpot else None),
    Reading(TOKENS_PER_S, "generate", lambda w: w.tokens / sum(w.iteration_s)),
)  # fmt: skip
PAIRED = tuple(reading for reading in READINGS if reading.metric.ratio)


def metrics(windows: Sequence[Window], who: Who, no_energy: str) -> dict[str, Quantity]:
    """Every level of one model: the geometric mean over blocks with its t interval."""
    found = {
        each.metric.name: level(
            _values(windows, who, each), each.metric.unit, _provenance(windows, each), no_energy
        )
        for each in READINGS
    }
    decode = _decode(windows, who)
    provenance = _provenance(windows, READINGS[0])
    name, unit, *_ = DECODE_ENERGY_PER_TOKEN
    found[name] = level(decode, unit, provenance, no_energy)
    if provenance != "estimated:model":  # only an estimate has model bounds
        del found[ENERGY_PER_TOKEN_LOW.name], found[ENERGY_PER_TOKEN_HIGH.name]
    return found


def ratios(windows: Sequence[Window], no_energy: str) -> dict[str, Quantity]:
    """Candidate over baseline for every metric that has a ratio, paired by block."""
    found = {
        each.metric.ratio: paired(
            _values(windows, "baseline", each),
            _values(windows, "candidate", each),
            _provenance(windows, each),
            no_energy,
        )
        for each in PAIRED
    }
    found[DECODE_ENERGY_PER_TOKEN.ratio] = paired(
        _decode(windows, "baseline"),
        _decode(windows, "candidate"),
        _provenance(windows, READINGS[0]),
        no_energy,
    )
    return found


def block_ratios(windows: Sequence[Window], name: str) -> list[float]:
    """Candidate over baseline of one metric, by its ratio's name, in each valid block."""
    reading = next(each for each in PAIRED if each.metric.ratio == name)
    kept = valid_blocks(windows)
    sides = (_values(kept, who, reading) for who in ("baseline", "candidate"))
    return [after / before for before, after in zip(*sides, strict=False) if before > 0 < after]


def verdicts(windows: Sequence[Window], tier: str, validity: Validity) -> dict[str, Verdict]:
    """What each ratio of this run alone shows, by the ratio's name."""
    return {
        each.metric.ratio: judge(
            each.metric.ratio,
            _values(windows, "baseline", each),
            _values(windows, "candidate", each),
            provenance=_provenance(windows, each),
            tier=tier,
            validity=validity,
        )
        for each in PAIRED
        if _provenance(windows, each) != "unavailable"
    }


def budgets(
    windows: Sequence[Window], candidate: Quantity, ratio: Quantity
) -> dict[str, Uncertainty]:
    """Uncertainty budgets of the headline energy, absolute and as a ratio; empty without a meter."""
    headline = [w for w in windows if w.phase == "generate" and w.energy]
    if not headline:
        return {}
    span = headline[0].energy[0]
    shortest_s = min(w.energy[0].end_s - w.energy[0].start_s for w in headline)
    return {
        name: uncertainty(
            quantity,
            tick_s=span.tick_s,
            window_s=shortest_s,
            boundary=span.boundary,
            aligned=True,
        )
        for name, quantity in (
            (f"candidate.{ENERGY_PER_TOKEN.name}", candidate),
            (f"ratio.{ENERGY_PER_TOKEN.ratio}", ratio),
        )
    }


class Idle(NamedTuple):
    """Idle windows that count."""

    windows: int
    powers_w: list[float]
    """Of those with joules."""
    provenance: Provenance


def idle_powers(windows: Sequence[Window], who: str) -> Idle:
    """The valid idle windows while `who` was loaded, and what each drew."""
    mine = [w for w in windows if w.phase == "idle" and w.who == who and w.validity != "invalid"]
    powers = [joules(w) / (w.end_s - w.start_s) for w in mine if w.energy]  # type: ignore[operator]
    known = bool(mine and mine[0].energy)
    return Idle(len(mine), powers, mine[0].energy[0].provenance if known else "unavailable")


def idle_power(windows: Sequence[Window], no_energy: str) -> dict[str, Quantity]:
    """Mean power in watts of the idle windows, by what was loaded."""
    found = {}
    for who in ("empty", "one", "both", "unloaded"):
        idle = idle_powers(windows, who)
        if idle.powers_w:
            found[who] = as_quantity(mean_interval(idle.powers_w), "W", idle.provenance)
        elif idle.windows:
            found[who] = missing("W", no_energy)
    return found


def energy_of(window: Window) -> Quantity:
    """Joules of one window by the first meter."""
    counted_j = joules(window)
    if counted_j is None:
        return missing("J", window.energy_reason or "no meter answered")
    if counted_j <= 0:
        return missing("J", "shorter than the meter's tick")
    span = window.energy[0]
    return Quantity(
        value=counted_j,
        unit="J",
        provenance=span.provenance,
        n=1,
        low=span.low_j,
        high=span.high_j,
        reason="done once: no interval" if span.low_j is None else "bounds of the estimate",
    )


def valid_blocks(windows: Sequence[Window]) -> list[Window]:
    """The windows of the blocks in which every window is valid: a block counts whole or not at all."""
    spoiled = {w.block for w in windows if w.validity == "invalid"}
    return [w for w in windows if w.block is not None and w.block not in spoiled]


def _values(windows: Sequence[Window], who: Who, reading: Reading) -> list[float]:
    """One value per block, in block order; empty if any block lacks it."""
    mine = [w for w in windows if w.who == who and w.phase == reading.phase]
    values = [reading.value(w) for w in sorted(mine, key=lambda w: w.block or 0)]
    return [] if None in values else [value for value in values if value is not None]


def _decode(windows: Sequence[Window], who: Who) -> list[float]:
    """Per block, joules per decoded token: generate minus prefill over all tokens but the first."""
    generated, prefilled = (
        sorted(
            (w for w in windows if w.who == who and w.phase == phase),
            key=lambda w: w.block or 0,
        )
        for phase in ("generate", "prefill")
    )
    values = []
    for whole, first in zip(generated, prefilled, strict=True):
        all_j, start_j = joules(whole), joules(first)
        if all_j is None or start_j is None:
            return []
        decoded = whole.tokens / whole.iterations - first.tokens / first.iterations
        values.append((all_j / whole.iterations - start_j / first.iterations) / decoded)
    return values


def _provenance(windows: Sequence[Window], reading: Reading) -> Provenance:
    if not reading.energy:
        return "measured:clock"
    return next((w.energy[0].provenance for w in windows if w.energy), "unavailable")


def level(values: list[float], unit: str, provenance: Provenance, no_energy: str) -> Quantity:
    """Mean of one value per block, geometric where it can be; `no_energy` says why there is none."""
    if not values:
        return missing(unit, no_energy if provenance == "unavailable" else NO_VALUE)
    average = geometric_mean if min(values) > 0 else mean_interval  # a difference may be below 0
    return as_quantity(average(values), unit, provenance)


def as_quantity(interval: Interval, unit: str, provenance: Provenance) -> Quantity:
    """An interval as a record keeps it."""
    value, low, high, n, reason = interval
    return Quantity(
        value=value, unit=unit, provenance=provenance, n=n, low=low, high=high, reason=reason
    )


def paired(
    baseline: list[float], candidate: list[float], provenance: Provenance, no_energy: str
) -> Quantity:
    """Candidate over baseline of one value per block each."""
    if not baseline or not candidate:
        return missing("ratio", no_energy if provenance == "unavailable" else NO_VALUE)
    if min(*baseline, *candidate) <= 0:
        return missing(
            "ratio", "a block's difference is not above 0: windows are too short to tell"
        )
    return as_quantity(paired_ratio(baseline, candidate), "ratio", provenance)
