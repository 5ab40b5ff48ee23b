"""What the device can do at most: bytes read and multiplications a second, measured in a moment.

The ceiling of the roofline model (Williams et al., 2009, Communications of the ACM 52:65).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch

from greenbench.files import write_atomically
from greenbench.machine import allowance
from greenbench.machine.device_lock import device_lock_if_free, machine_key
from greenbench.paths import cache_dir

SHARE = 16
"""Of the free memory, what is read at most."""
MOST_BYTES = 1 << 30
SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the matrices that are multiplied."""
TRIES = 5
BUSY = "the device's own speed was not measured, as another run was on it"


class Roof(NamedTuple):
    """The best of some tries, as a ceiling is."""

    bytes_per_s: float
    """Read from memory."""
    flops_per_s: float
    """Of matrices in bfloat16, a multiplication and an addition each counted."""


def known(parts: Sequence[str], device: torch.device, free_bytes: Callable[[], int]) -> Roof | None:
    """`measure` of the device of these `parts`, once as long as the machine runs; null where it is not known
    and a run is on the device: they would disturb each other, and the ceiling would stay too low."""
    what = json.dumps([*parts, allowance.threads(), torch.__version__])
    name = f"{machine_key()}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"
    file = cache_dir() / "roofline" / name
    with suppress(OSError, ValueError, TypeError):
        return Roof(**json.loads(file.read_bytes()))
    with device_lock_if_free(parts) as mine:
        if not mine:
            return None
        found = measure(device, free_bytes())
    with suppress(OSError):  # without a place to keep it, it is measured again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(found._asdict()).encode(), durable=False)
    return found


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
