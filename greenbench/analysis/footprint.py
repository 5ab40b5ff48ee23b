"""Bytes of a model: those it holds, and its peaks while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Who, Window

Side = Literal["host", "device"]
SIDES: tuple[Side, ...] = get_args(Side)


def exact(value: int, unit: str, provenance: Provenance = "measured:memory") -> Quantity:
    """A count, which has no spread."""
    return Quantity(
        value=value, unit=unit, provenance=provenance, n=1, reason="an exact count has no interval"
    )


def exact_ratio(baseline: int | None, candidate: int | None, unknown: str) -> Quantity:
    """Ratio of two counts, which has no spread; `unknown` says why one is not known."""
    if baseline is None or candidate is None:
        return missing("ratio", unknown)
    return exact(baseline, "ratio").model_copy(update={"value": candidate / baseline})


def byte_counts(
    windows: Sequence[Window],
    who: Who,
    held: int | None,
    beside: Mapping[Side, int | None],
    unknown: str,
) -> dict[str, Quantity]:
    """True bytes of one model, and its peaks: high-water marks less what lies `beside` it.

    That are the other model's weights, where both share a process; `unknown` says why a number of
    bytes is not known.
    """
    peaks = {
        f"{side}_peak_bytes": _peak(windows, who, f"{side}_peak_bytes", beside[side], unknown)
        for side in SIDES
    }
    return {"model_bytes": missing("B", unknown) if held is None else exact(held, "B"), **peaks}


def _peak(
    windows: Sequence[Window], who: Who, field: str, beside: int | None, unknown: str
) -> Quantity:
    marks = [getattr(w, field) for w in windows if w.who == who]
    known = [mark for mark in marks if mark is not None]
    if not known:
        return missing("B", "this device or kernel has no such high-water mark")
    if beside is None:
        return missing("B", unknown)
    return Quantity(
        value=max(known) - beside,
        unit="B",
        provenance="measured:memory",
        n=len(known),
        reason="a maximum has no interval",
    )
