"""What a table's frontier sets against quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    SECONDS_PER_TOKEN,
    TOKENS_PER_S,
    Metric,
)
from greenbench.schema.quantity import Quantity, named
from greenbench.schema.record import Record

COST_NAMES: Final[Mapping[Metric, str]] = {
    ENERGY_PER_TOKEN: "energy",
    ENERGY_PER_SOLVED: "energy per solved problem",
    SECONDS_PER_TOKEN: "time",
}
"""Of each axis in a sentence."""


def is_graded(record: Record) -> bool:
    """Whether answers were graded while their joules were counted, on items enough to claim something."""
    whole = record.solved[-1] if record.solved else None
    return bool(
        whole and whole.claims is None and whole.ratio.energy_per_solved.provenance != "unavailable"
    )


def axis_of(records: Sequence[Record], *, measured: bool) -> Metric:
    """Joules per solved problem where all had answers graded and any solved one, else joules per token; where
    joules were not `measured`, seconds per token: nothing ranks by an estimate."""
    if not measured:
        return SECONDS_PER_TOKEN
    solved = all(map(is_graded, records)) and any(
        record.solved[-1].ratio.energy_per_solved.value is not None for record in records
    )
    return ENERGY_PER_SOLVED if records and solved else ENERGY_PER_TOKEN


def ratio_of(metric: Metric, ratios: Mapping[str, Quantity]) -> Quantity:
    """Candidate over baseline, of `metric` or of what it is one over."""
    if metric is SECONDS_PER_TOKEN:
        return named(ratios, TOKENS_PER_S.ratio, "ratio").inverse("ratio")
    return named(ratios, metric.ratio, "ratio")


def level_of(metric: Metric, levels: Mapping[str, Quantity]) -> Quantity:
    """A model's, likewise."""
    if metric is SECONDS_PER_TOKEN:
        return TOKENS_PER_S.level(levels).inverse(metric.unit)
    return metric.level(levels)
