"""What runs came to, in a line each."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.readings import joules
from greenbench.schema.quantity import Quantity, said
from greenbench.schema.record import Record
from greenbench.wording import TIMES


def outcome(record: Record) -> str:
    """Of one run."""
    if record.failure is not None:
        return f"{record.status}: {record.failure.message}"
    return f"done in {record.stages_s['total']:.0f} s{_speed(record.ratios['tokens_per_s'])}"


def _speed(ratio: Quantity) -> str:
    if ratio.value is None:
        return f", no speed ratio ({ratio.reason})"
    return f", speed {said(ratio, suffix=TIMES)} the baseline's"


def drawn(records: Sequence[Record]) -> tuple[float, bool]:
    """Joules of all their windows, and whether any of them are estimates."""
    total_j = sum(joules(window) or 0.0 for record in records for window in record.windows)
    return total_j, any(map(is_estimate, records))


def is_estimate(record: Record) -> bool:
    """Whether any of its joules are."""
    return any(w.energy and w.energy[0].provenance == "estimated:model" for w in record.windows)


def closing(records: Sequence[Record], wall_s: float) -> str:
    """Counts, and the share of this command's wall time that measured nothing."""
    counts = {
        status: sum(record.status == status for record in records)
        for status in ("completed", "failed", "unsupported")
    }
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{told} in {wall_s:.0f} s"
