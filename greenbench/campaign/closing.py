"""What runs came to, in a line each."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record


def outcome(record: Record) -> str:
    """Of one run."""
    if record.failure is not None:
        return f"{record.status}: {record.failure.message}"
    return f"done in {record.stages_s['total']:.0f} s{_speed(record.ratios['tokens_per_s'])}"


def _speed(ratio: Quantity) -> str:
    if ratio.value is None:
        return f", no speed ratio ({ratio.reason})"
    if ratio.low is None or ratio.high is None:
        return f", speed {ratio.value:.2f}x baseline"
    return f", speed {ratio.value:.2f}x baseline ({ratio.low:.2f}-{ratio.high:.2f})"


def closing(records: Sequence[Record], wall_s: float) -> str:
    """Counts, and the share of this command's wall time that measured nothing."""
    counts = {
        status: sum(record.status == status for record in records)
        for status in ("completed", "failed", "unsupported")
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{said} in {wall_s:.0f} s"
