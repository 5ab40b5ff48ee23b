"""What techniques promised, took to prepare and kept: promise against measurement, break-even."""

from __future__ import annotations

import math

from greenbench.analysis.energy.causes import Claim
from greenbench.analysis.energy.per_request import ALWAYS_ON, Basis, saving
from greenbench.analysis.frontiers.axis import ratio_of
from greenbench.analysis.groups.rows import Row
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Findings


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


def promised_ratio(found: Findings) -> float | None:
    """The most that the stack promised to save, of bytes, multiplications or layers, as a ratio."""
    known = [
        ratio for name in ("bytes_ratio", "flops_ratio", "active_bytes_ratio", "layers_ratio")
        if (ratio := product(found, name)) is not None
    ]  # fmt: skip
    parts = () if _is_beside(found) else found.techniques
    zeros = [1 - part.promise.sparsity for part in parts if part.promise.sparsity]
    return min([*known, *zeros], default=None)


def product(found: Findings, name: str) -> float | None:
    """A stack's promise: each part's was made of the model as the parts before had left it."""
    values = [getattr(part.promise, name) for part in found.techniques if not _is_beside(found)]
    known = [value for value in values if value is not None]
    return math.prod(known) if known else None


def claim(found: Findings) -> Claim:
    """What was promised, as the split of lost time asks for it."""
    work = [product(found, name) for name in ("flops_ratio", "layers_ratio")]
    return Claim(
        ratio=min(promised_ratio(found) or 1.0, 1.0),
        work=min((each for each in work if each is not None), default=1.0),
        zeros=any(part.promise.sparsity for part in found.techniques),
    )


def _is_beside(found: Findings) -> bool:
    """Whether the plain model is held and asked beside what the stack makes."""
    return any(part.promise.beside for part in found.techniques)


def realised(found: Findings) -> Quantity:
    """J/token over the baseline's where it was measured; else time per token, which always is."""
    energy = ratio_of(ENERGY_PER_TOKEN, found.ratios)
    return energy if energy.is_measured else seconds_per_token(found)


def seconds_per_token(found: Findings) -> Quantity:
    """Time per token over the baseline's: 1 over the ratio of tokens per second."""
    speed = ratio_of(TOKENS_PER_S, found.ratios)
    if not speed.value:
        return speed
    interval = speed.bounds
    turned = {"value": 1 / speed.value}
    if interval and interval[0] > 0:
        turned |= {"low": 1 / interval[1], "high": 1 / interval[0]}
    return speed.model_copy(update=turned)
