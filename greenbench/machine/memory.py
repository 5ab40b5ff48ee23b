"""Peak memory of one window, on the device and on the host."""

from __future__ import annotations

import re
from pathlib import Path

import torch

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
