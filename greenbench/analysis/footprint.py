"""Bytes of a model: those it holds, and its peaks while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Who, Window


def exact(value: int, unit: str, provenance: Provenance = "measured:memory") -> Quantity:
    """A count, which has no spread."""
    return Quantity(
        value=value, unit=unit, provenance=provenance, n=1, reason="an exact count has no interval"
    )


def exact_ratio(baseline: int, candidate: int) -> Quantity:
    """Ratio of two counts, which has no spread."""
    return exact(baseline, "ratio").model_copy(update={"value": candidate / baseline})


def byte_counts(
    windows: Sequence[Window], who: Who, size: Mapping[Who, int], device: str, together: bool
) -> dict[str, Quantity]:
    """True bytes of one model, and its peaks: high-water marks less the other model's weights."""
    other: Who = "candidate" if who == "baseline" else "baseline"
    others = size[other] if together else 0
    beside = {"host": others if device == "cpu" else 0, "device": others}
    peaks = {
        f"{side}_peak_bytes": _peak(windows, who, f"{side}_peak_bytes", beside[side])
        for side in ("host", "device")
    }
    return {"model_bytes": exact(size[who], "B"), **peaks}


def _peak(windows: Sequence[Window], who: Who, field: str, others_bytes: int) -> Quantity:
    marks = [getattr(w, field) for w in windows if w.who == who]
    known = [mark for mark in marks if mark is not None]
    if not known:
        return missing("B", "this device or kernel has no such high-water mark")
    return Quantity(
        value=max(known) - others_bytes,
        unit="B",
        provenance="measured:memory",
        n=len(known),
        reason="a maximum has no interval",
    )
