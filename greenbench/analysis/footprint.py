"""Bytes of a model: those it holds, and its peaks while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greenbench.schema.metrics import DEVICE_PEAK_BYTES, HOST_PEAK_BYTES, MODEL_BYTES
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.window import Who, Window


def exact(value: float, unit: str, provenance: Provenance = "measured:memory") -> Quantity:
    """A count, which has no spread."""
    return Quantity(
        value=value, unit=unit, provenance=provenance, n=1, reason="an exact count has no interval"
    )


def exact_ratio(baseline: float | None, candidate: float | None, unknown: str = "") -> Quantity:
    """Ratio of two counts, which has no spread; `unknown` says why one is null."""
    if baseline is None or candidate is None:
        return missing("ratio", unknown)
    return exact(baseline, "ratio").model_copy(update={"value": candidate / baseline})


def byte_counts(
    windows: Sequence[Window],
    who: Who,
    held: int | None,
    beside: Mapping[str, int | None],
    unknown: str = "",
) -> dict[str, Quantity]:
    """True bytes of one model, and its peaks: high-water marks less what lies `beside` it.

    By the name of a peak, that are the other model's weights, where both share a process. `unknown`
    says why a number of bytes is null.
    """
    peaks = {
        peak.name: _peak(windows, who, peak.name, beside[peak.name], unknown)
        for peak in (HOST_PEAK_BYTES, DEVICE_PEAK_BYTES)
    }
    own = missing("B", unknown) if held is None else exact(held, "B")
    return {MODEL_BYTES.name: own, **peaks}


def _peak(
    windows: Sequence[Window], who: Who, field: str, beside: int | None, unknown: str
) -> Quantity:
    marks = [getattr(w, field) for w in windows if w.who == who]
    known = [mark for mark in marks if mark is not None]
    if not known:
        return missing("B", "this device, kernel or engine tells no such high-water mark")
    if beside is None:
        return missing("B", f"what lies beside it is not known: {unknown}")
    return Quantity(
        value=max(known) - beside,
        unit="B",
        provenance="measured:memory",
        n=len(known),
        reason="a maximum has no interval",
    )
