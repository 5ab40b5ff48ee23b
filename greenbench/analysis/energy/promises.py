"""What techniques promised, took to prepare and kept: promise against measurement, break-even."""

from __future__ import annotations

from greenbench.analysis.energy.per_request import ALWAYS_ON, Basis, saving
from greenbench.analysis.groups.rows import Row
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


def break_even(row: Row, basis: Basis = ALWAYS_ON) -> Quantity:
    """Generated tokens until the saving has paid for the preparation; null: never, or not known.

    On a device that stays on, unless `basis` says otherwise.
    """
    return paid_back(row, saving(row, basis, unit="J/token", per_token=True), "token")


def paid_back(row: Row, each: Quantity, unit: str) -> Quantity:
    """How many times what `each` saves, in joules, pays for the preparation."""
    once = prepare_energy(row)
    if once.value is None or each.value is None:
        why = each.reason if once.value is not None else once.reason
        return missing(unit, why or "joules of the preparation or of the answers are missing")
    if each.value <= 0:
        return missing(unit, "no break-even: it saves no energy")
    interval = each.bounds
    high = once.value / interval[0] if interval and interval[0] > 0 else None
    return Quantity(
        value=once.value / each.value,
        unit=unit,
        provenance=each.provenance,
        n=each.n,
        low=once.value / interval[1] if interval and high else None,
        high=high,
        reason=None if high else _endless(each),
    )


def _endless(each: Quantity) -> str:
    if each.bounds is None:
        return f"no interval: {each.reason}"
    return "no upper bound: the saving's interval reaches 0"
