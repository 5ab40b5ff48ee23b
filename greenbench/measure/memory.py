"""Bytes: peaks of one window, on the device and on the host, and what they say of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from greenbench.quantities import Provenance, Quantity, missing
from greenbench.records import Who, Window

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peaks(device: torch.device) -> None:
    """Start new high-water marks."""
    if device.type == "cuda":
        for gpu in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(gpu)
    try:
        CLEAR_REFS.write_text("5")  # proc(5): resets VmHWM
    except OSError:
        return


def device_peak_bytes(device: torch.device) -> int | None:
    """Most bytes torch held on each GPU since the reset, summed; null on a CPU: see the host's."""
    if device.type != "cuda":
        return None
    return sum(torch.cuda.max_memory_allocated(gpu) for gpu in range(torch.cuda.device_count()))


def host_peak_bytes() -> int | None:
    """The process's high-water mark since the reset; null where the kernel does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def exact(value: int, unit: str, provenance: Provenance = "measured:memory") -> Quantity:
    """A count, which has no spread."""
    return Quantity(
        value=value, unit=unit, provenance=provenance, n=1, reason="an exact count has no interval"
    )


def exact_ratio(baseline: int, candidate: int) -> Quantity:
    """Ratio of two counts, which has no spread."""
    return exact(baseline, "ratio").model_copy(update={"value": candidate / baseline})


def sizes(
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
