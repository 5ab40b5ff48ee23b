"""What torch's profiler wrote of one process as a Chrome trace, as servers leave it in a file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from greenbench.engines import timeline
from greenbench.engines.timeline import Event

ON_HOST: Final = ("cpu_op", "cuda_runtime", "cuda_driver")
ON_DEVICE: Final = ("kernel", "gpu_memcpy", "gpu_memset")
COMPILED: Final = "## Call CompiledFxGraph"
"""How the step is named that torch compiled; the only annotation of which more than its name is known."""


class Process(NamedTuple):
    """What one process did."""

    pid: int
    events: list[Event]


def read(file: Path) -> Process:
    """The process of `file`. Raises OSError or ValueError where it is none of torch's traces.

    Times are microseconds there, to three digits: https://pytorch.org/docs/stable/profiler.html.
    """
    raw = file.read_bytes()
    found = json.loads(gzip.decompress(raw) if file.suffix == ".gz" else raw)
    told = [each for each in found["traceEvents"] if _is_told(each)]
    pids = {each["pid"] for each in told if each["cat"] in ON_HOST}
    if len(pids) != 1:
        raise ValueError(f"{file.name} holds {len(pids)} processes")
    return Process(pids.pop(), [_event(each) for each in told])


def _is_told(each: Mapping[str, Any]) -> bool:
    if each.get("ph") != "X":
        return False
    kind, name = each.get("cat"), str(each.get("name"))
    return kind in ON_HOST + ON_DEVICE or (kind == "user_annotation" and name.startswith(COMPILED))


def _event(each: Mapping[str, Any]) -> Event:
    told, start_ns = each.get("args", {}), round(1e3 * each["ts"])
    number, is_operator = told.get("External id"), each["cat"] == "cpu_op"
    on_device = each["cat"] in ON_DEVICE
    return Event(
        timeline.key(each["name"], told.get("Input Dims", ()), told.get("Input type", ())),
        start_ns,
        start_ns + round(1e3 * each["dur"]),
        0 if on_device else int(each["tid"]),
        number if is_operator else None,
        None if is_operator else number or None,
        on_device,
    )
