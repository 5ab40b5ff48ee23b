"""What techniques promised, took to prepare and kept: promise against measurement, break-even."""

from __future__ import annotations

from greenbench.analysis.groups.rows import Row
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.quantity import Quantity, missing


def prepare_energy(row: Row) -> Quantity:
    """Joules of the candidate's preparation, all its techniques together, by the first meter."""
    parts = [part.prepare_energy for part in row.record.techniques]
    values = [part.value for part in parts]
    if not parts or None in values:
        unknown = next((part.reason for part in parts if part.value is None), None)
        return missing("J", unknown or "the preparation was not metered")
    total = sum(value for value in values if value is not None)
    return parts[0].model_copy(
        update={"value": total, "low": None, "high": None, "reason": "done once: no interval"}
    )


def break_even(row: Row) -> Quantity:
    """Generated tokens until the saving has paid for the preparation; null: never, or not known."""
    once, ratio = prepare_energy(row), row.ratio(ENERGY_PER_TOKEN)
    before = row.baseline.get(ENERGY_PER_TOKEN.name)
    if once.value is None or ratio.value is None or before is None or before.value is None:
        return missing("token", "joules of the preparation or of the tokens are missing")
    if ratio.value >= 1:
        return missing("token", "no break-even: it saves no energy")
    paid = once.value / before.value
    interval = ratio.bounds
    high = paid / (1 - interval[1]) if interval and interval[1] < 1 else None
    return Quantity(
        value=paid / (1 - ratio.value),
        unit="token",
        provenance=ratio.provenance,
        n=ratio.n,
        low=paid / (1 - interval[0]) if interval and high else None,
        high=high,
        reason=None if high else "no upper bound: the ratio's interval reaches 1",
    )
