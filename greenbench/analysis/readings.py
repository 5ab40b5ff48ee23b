"""How each metric is read off a window, and the values of all blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from greenbench.analysis.queueing import GREW, saturated, unanswered
from greenbench.schema.metrics import (
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
from greenbench.schema.quantity import Provenance
from greenbench.schema.window import Percentiles, Phase, Who, Window

Value = Callable[[Window], float | None]

ANSWERED: Final[tuple[Phase, ...]] = ("generate", "serve")
"""The windows of whole answers: one batch after another, or under load."""
NO_VALUE = "not seen in every block, or every block is invalid"
TOGETHER = "under load prefill and decode are not told apart"


class Reading(NamedTuple):
    """How a metric is read off a block's window of these phases."""

    metric: Metric
    phases: tuple[Phase, ...]
    value: Value
    energy: bool = False
    paired: bool = True
    """Whether the run also has its ratio."""


def joules(window: Window) -> float | None:
    """Joules of one window by the first meter; null without one."""
    return window.energy[0].end_j - window.energy[0].start_j if window.energy else None


def each(total: float | None, count: float) -> float | None:
    """Of `total`, the part of one of `count`; null of nothing, and for none."""
    return None if total is None or not count else total / count


def tokens_per_s(window: Window) -> float | None:
    """Tokens a second as one batch, or one user, sees them.

    Under load tokens over the seconds that all requests were in flight: by Little's law that is the
    throughput over the number in flight, each one's own pace, its wait included.
    """
    if window.phase == "serve":
        flight_s = window.traffic.flight_s if window.traffic else 0.0
        return each(window.tokens, flight_s) if window.tokens else None
    return each(window.tokens, sum(window.iteration_s))


def _latency(kind: Literal["ttft", "tpot"], percent: int) -> Value:
    """Reads a window's percentile; null where it lies among requests that were never answered."""

    def read(window: Window) -> float | None:
        found: Percentiles | None = getattr(window, kind)
        if found is None:
            return None
        last = found.n + unanswered(window, kind, found.n) - 1
        return (
            None if last * percent / 100 > found.n - 1 else float(getattr(found, f"p{percent}_s"))
        )

    return read


READINGS = (
    Reading(ENERGY_PER_TOKEN, ANSWERED, lambda w: each(joules(w), w.tokens), energy=True),
    Reading(ENERGY_PER_TOKEN_LOW, ANSWERED,
            lambda w: each(w.energy[0].low_j, w.tokens) if w.energy else None, energy=True),
    Reading(ENERGY_PER_TOKEN_HIGH, ANSWERED,
            lambda w: each(w.energy[0].high_j, w.tokens) if w.energy else None, energy=True),
    Reading(PREFILL_ENERGY, ("prefill",), lambda w: each(joules(w), w.iterations), energy=True),
    Reading(TTFT, ("prefill", "serve"), _latency("ttft", 50)),
    Reading(TTFT_P90, ("prefill", "serve"), _latency("ttft", 90), paired=False),
    Reading(TTFT_P99, ("prefill", "serve"), _latency("ttft", 99), paired=False),
    Reading(TPOT, ANSWERED, _latency("tpot", 50)),
    Reading(TPOT_P90, ANSWERED, _latency("tpot", 90), paired=False),
    Reading(TPOT_P99, ANSWERED, _latency("tpot", 99), paired=False),
    Reading(TOKENS_PER_S, ANSWERED, tokens_per_s),
)  # fmt: skip
PAIRED = tuple(reading for reading in READINGS if reading.metric.ratio and reading.paired)
LATENCIES = frozenset({TTFT, TTFT_P90, TTFT_P99, TPOT, TPOT_P90, TPOT_P99})


Full: TypeAlias = Mapping[Who, bool] | None
"""Whether each model's queue grows, as the windows of all loads show it; null: as those at hand do."""


def values(windows: Sequence[Window], who: Who, reading: Reading, full: Full = None) -> list[float]:
    """One value per block, in block order; empty if any block lacks it, or it has none by `unbounded`."""
    mine = [w for w in windows if w.who == who and w.phase in reading.phases]
    found = [reading.value(w) for w in sorted(mine, key=lambda w: w.block or 0)]
    if None in found or unbounded(windows, who, reading, full):
        return []
    return [value for value in found if value is not None]


def unbounded(windows: Sequence[Window], who: Who, reading: Reading, full: Full = None) -> bool:
    """Whether it is a latency that the windows' load lets grow for ever."""
    under_load = [w for w in windows if w.who == who and w.phase == "serve"]
    if reading.metric not in LATENCIES:
        return False
    return saturated(under_load) if full is None else bool(under_load) and full[who]


def why(windows: Sequence[Window], who: Who, reading: Reading, full: Full = None) -> str:
    """Why `values` has none, where windows have been taken."""
    under_load = any(w.phase == "serve" for w in windows)
    if under_load and "serve" not in reading.phases:
        return TOGETHER
    return GREW if unbounded(windows, who, reading, full) else NO_VALUE


def decode(windows: Sequence[Window], who: Who) -> list[float]:
    """Per block, joules per decoded token: generate minus prefill over all tokens but the first.

    Empty under load, where requests in all stages are answered at once.
    """
    generated, prefilled = (
        sorted(
            (w for w in windows if w.who == who and w.phase == phase),
            key=lambda w: w.block or 0,
        )
        for phase in ("generate", "prefill")
    )
    found = []
    for whole, first in zip(generated, prefilled, strict=True):
        all_j, start_j = joules(whole), joules(first)
        if all_j is None or start_j is None:
            return []
        decoded = whole.tokens / whole.iterations - first.tokens / first.iterations
        found.append((all_j / whole.iterations - start_j / first.iterations) / decoded)
    return found


def provenance(windows: Sequence[Window], reading: Reading) -> Provenance:
    """Where a reading's numbers come from."""
    return source(windows) if reading.energy else "measured:clock"


def source(windows: Sequence[Window]) -> Provenance:
    """Where the joules of windows come from."""
    return next((w.energy[0].provenance for w in windows if w.energy), "unavailable")
