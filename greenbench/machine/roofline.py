"""What the device can do at most: bytes read and multiplications a second, measured in a moment.

The ceiling of the roofline model (Williams et al., 2009, Communications of the ACM 52:65).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

SHARE = 16
"""Of the free memory, what is read at most."""
MOST_BYTES = 1 << 30
SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the matrices that are multiplied."""
TRIES = 5


class Roof(NamedTuple):
    """The best of some tries, as a ceiling is."""

    bytes_per_s: float
    """Read from memory."""
    flops_per_s: float
    """Of matrices in bfloat16, a multiplication and an addition each counted."""


def measure(device: torch.device, free_bytes: int) -> Roof:
    """Both of `device`, in about a second."""
    values = torch.ones(min(MOST_BYTES, free_bytes // SHARE) // 4, device=device)
    side = SIDE[device.type]
    matrix = torch.ones(side, side, dtype=torch.bfloat16, device=device)
    return Roof(
        bytes_per_s=4 * len(values) / _best_s(values.sum, device),
        flops_per_s=2 * side**3 / _best_s(lambda: matrix @ matrix, device),
    )


def _best_s(work: Callable[[], object], device: torch.device) -> float:
    """Of the second try on: the first makes caches and kernels."""
    taken = []
    for _ in range(1 + TRIES):
        _finish(device)
        begin_s = time.perf_counter()
        work()
        _finish(device)
        taken.append(time.perf_counter() - begin_s)
    return min(taken[1:])


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
