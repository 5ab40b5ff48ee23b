"""Peak memory of one window, on the device and on the host."""

from __future__ import annotations

import re
from pathlib import Path

import torch

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peaks(device: torch.device) -> None:
    """Start new high-water marks."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        CLEAR_REFS.write_text("5")  # proc(5): resets VmHWM
    except OSError:
        return


def device_peak_bytes(device: torch.device) -> int | None:
    """Most bytes torch held on `device` since the reset; null on a CPU, where host memory is meant."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def host_peak_bytes() -> int | None:
    """The process's high-water mark since the reset; null where the kernel does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
