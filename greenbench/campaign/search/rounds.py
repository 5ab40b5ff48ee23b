"""What a run's record gives a race, and what is said where it gives nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log
from typing import Final

from greenbench.analysis.blocks import valid_blocks
from greenbench.analysis.readings import PAIRED, Reading, unbounded, values, why
from greenbench.schema.codes import meaning
from greenbench.schema.metrics import TPOT, TTFT, Metric
from greenbench.schema.record import Record
from greenbench.schema.window import Who
from greenbench.stats.elimination import Spoilt

LEAST_BLOCKS: Final = 2
LATENCIES: Final = {"time per output token": TPOT, "time to the first token": TTFT}
PASSING: Final = frozenset({"killed", "device_lost"})
"""Ends of a run after which the next may go well."""


def read(record: Record, who: Who, metric: Metric) -> list[float]:
    """Values above 0, by valid block."""
    reading = next(each for each in PAIRED if each.metric == metric)
    return [value for value in values(valid_blocks(record.windows), who, reading) if value > 0]


def over(record: Record, who: Who, name: str, most_ms: float) -> list[float]:
    """Logarithms of a latency over its limit, by block; infinite where it grows for as long as is looked."""
    windows = valid_blocks(record.windows)
    if unbounded(windows, who, _latency(name)):
        return [inf] * LEAST_BLOCKS
    return [log(1e3 * value / most_ms) for value in read(record, who, LATENCIES[name])]


def _latency(name: str) -> Reading:
    return next(each for each in PAIRED if each.metric == LATENCIES[name])


def no_latency(record: Record, name: str) -> str:
    """Why it has none."""
    return why(valid_blocks(record.windows), "candidate", _latency(name))


def why_not(records: Sequence[Record], ends: bool) -> Spoilt | str:
    """Why a run shows nothing; `ends`: its time was what is left of the budget."""
    record = next(iter(records), None)
    if record is None:
        return "it left no record"
    if (failure := record.failure) is None:
        return Spoilt(f"its run is invalid ({'; '.join(map(meaning, record.codes))})")
    passes = failure.reason in PASSING or (ends and failure.reason == "time_limit")
    return Spoilt(failure.message) if passes else failure.message
