"""What a request batch spends its time in, by torch's own profiler."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from greenbench.engines import timeline
from greenbench.engines.timeline import Event, Spent
from greenbench.machine.scheduling import of_this_thread
from greenbench.schema.profile import Trace

TOOL = f"torch.profiler {torch.__version__.partition('+')[0]}"


def traced(work: Callable[[], object], device: torch.device) -> Trace:
    """`work`, which leaves `device` at rest, done once as always and once under the profiler.

    Raises Unavailable where kernels on a GPU are not seen.
    """
    plain = _spent(work)
    on_gpu = device.type == "cuda"
    looked = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=looked, record_shapes=True) as seen:
        longer = _spent(work)
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = seen.profiler.kineto_results.events()
    told = [
        _event(each)
        for each in events
        if each.device_type() in (DeviceType.CPU, DeviceType.CUDA) and not each.is_user_annotation()
    ]
    return timeline.trace(told, plain, longer, on_gpu=on_gpu)


def _spent(work: Callable[[], object]) -> Spent:
    """Of `work`; it ran all the time where the system does not say."""
    begun_s, all_s, began = time.perf_counter(), time.process_time(), of_this_thread()
    work()
    ended, all_s = of_this_thread(), time.process_time() - all_s
    wall_s = time.perf_counter() - begun_s
    if began is None or ended is None:
        return Spent(wall_s, wall_s, 0.0, 0.0)
    ran_s = ended.ran_s - began.ran_s
    return Spent(wall_s, ran_s, ended.queued_s - began.queued_s, max(0.0, all_s - ran_s))


def _event(seen: Any) -> Event:
    begun_by = seen.linked_correlation_id() or None
    return Event(
        timeline.key(seen.name(), seen.structured_input_shapes(), seen.dtypes()),
        seen.start_ns(),
        seen.end_ns(),
        seen.start_thread_id(),
        None if begun_by else seen.correlation_id(),
        begun_by,
        seen.device_type() == DeviceType.CUDA,
    )
