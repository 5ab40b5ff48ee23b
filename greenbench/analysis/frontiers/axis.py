"""What a table's frontier sets against quality."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.schema.metrics import ENERGY_PER_SOLVED, ENERGY_PER_TOKEN, Metric
from greenbench.schema.record import Record


def is_graded(record: Record) -> bool:
    """Whether answers were graded while their joules were counted, on items enough to claim something."""
    whole = record.solved[-1] if record.solved else None
    return bool(
        whole and whole.claims is None and whole.ratio.energy_per_solved.provenance != "unavailable"
    )


def axis_of(records: Sequence[Record]) -> Metric:
    """Joules per solved problem where all had answers graded and any solved one; else joules per token."""
    solved = all(map(is_graded, records)) and any(
        record.solved[-1].ratio.energy_per_solved.value is not None for record in records
    )
    return ENERGY_PER_SOLVED if records and solved else ENERGY_PER_TOKEN
