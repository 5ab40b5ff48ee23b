"""Bytes of a model: those it holds, and its peaks while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greenbench.schema.metrics import DEVICE_PEAK_BYTES, HOST_PEAK_BYTES, MODEL_BYTES
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Who, Window


def exact(value: int, unit: str, provenance: Provenance = "measured:memory") -> Quantity:
    """A count, which has no spread."""
    return Quantity(
        value=value, unit=unit, provenance=provenance, n=1, reason="an exact count has no interval"
    )


def exact_ratio(baseline: int | None, candidate: int | None, reason: str = "") -> Quantity:
    """Ratio of two counts, which has no spread; `reason` says why one is null."""
    if baseline is None or candidate is None:
        return missing("ratio", reason)
    return exact(baseline, "ratio").model_copy(update={"value": candidate / baseline})


def byte_counts(
    windows: Sequence[Window],
    who: Who,
    size: Mapping[Who, int | None],
    device: str,
    together: bool,
    reason: str = "",
) -> dict[str, Quantity]:
    """True bytes of one model, and its peaks: high-water marks less the other model's weights.

    `reason` says why a size is null; a peak beside a model of unknown size is not known either.
    """
    other: Who = "candidate" if who == "baseline" else "baseline"
    on_device = size[other] if together else 0
    on_host = on_device if device == "cpu" else 0
    own = size[who]
    peaks = {
        peak.name: _peak(windows, who, peak.name, others)
        for peak, others in ((HOST_PEAK_BYTES, on_host), (DEVICE_PEAK_BYTES, on_device))
    }
    held = missing("B", reason) if own is None else exact(own, "B")
    return {MODEL_BYTES.name: held, **peaks}


def _peak(windows: Sequence[Window], who: Who, field: str, others_bytes: int | None) -> Quantity:
    marks = [getattr(w, field) for w in windows if w.who == who]
    known = [mark for mark in marks if mark is not None]
    if not known:
        return missing("B", "this device or kernel has no such high-water mark")
    if others_bytes is None:
        return missing("B", "the other model beside it is of unknown size")
    return Quantity(
        value=max(known) - others_bytes,
        unit="B",
        provenance="measured:memory",
        n=len(known),
        reason="a maximum has no interval",
    )
