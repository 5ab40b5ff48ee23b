"""What a request batch spends its time in, by torch's own profiler."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from re import compile as pattern
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from greenbench.errors import Unavailable
from greenbench.schema.profile import Operation, Trace

TOOL = f"torch.profiler {torch.__version__.partition('+')[0]}"
OWN = ("[memory]", "[OutOfMemory]", "ProfilerStep", "profiler::")
"""How what the profiler says of itself begins."""
LUMP = 3.0
"""Times the median of its like: one that took longer may have been disturbed."""
ALIKE = 3
"""Calls from which there is a median."""
SCHEDULED = Path("/proc/thread-self/schedstat")
"""Nanoseconds that this thread has run, and waited for a processor."""

LAUNCH = pattern(r"Launch\w*Kernel|GraphLaunch")
"""How calls are named that begin kernels on a GPU: one each, or a graph of many."""
FEW = 0.5
"""Kernels for each launch: fewer were not all seen."""
REGION = " "
"""In the names that torch gives to what it compiled, and in no operator's."""

Key = tuple[str, tuple[tuple[int, ...], ...], tuple[str, ...]]


def traced(work: Callable[[], object], device: torch.device) -> Trace:
    """`work`, which leaves `device` at rest, done once as always and once under the profiler.

    The profiler takes time at every operator, outside of it: what the second took longer is taken off in
    equal parts where operators begin. So is, in proportion, the time in which others had the processor. Of a
    GPU the operators' time is that of their kernels; raises Unavailable where these are not seen.
    """
    plain = _spent(work)
    on_gpu = device.type == "cuda"
    looked = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=looked, record_shapes=True) as seen:
        longer = _spent(work)
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = seen.profiler.kineto_results.events()
    host = _host([each for each in events if each.device_type() == DeviceType.CPU], longer)
    each_s = max(0.0, longer.ran_s - plain.ran_s) / max(len(host.operators), 1)
    own_s = [max(0.0, each.own_s - each_s * each.begun) for each in host.operators]
    between_s = max(0.0, host.between_s - each_s * host.outermost)
    within_s = sum(own_s)
    most_s = min(between_s, longer.asleep_s)
    asleep_s = min(most_s, max(0.0, longer.asleep_s - min(within_s, longer.others_s)))
    awake_s = between_s - most_s
    left = max(0.0, 1 - host.queued_s / max(within_s + awake_s, 1e-12))
    if not on_gpu:
        pairs = zip(host.operators, own_s, strict=True)
        taken = [(each.key, left * seconds) for each, seconds in pairs]
        inside = [each for each in taken if REGION not in each[0][0]]
        untold_s = most_s - asleep_s + sum(seconds for key, seconds in taken if REGION in key[0])
        between_s = asleep_s + left * awake_s
        return Trace(plain.wall_s, _summed(inside), between_s, 0.0, asleep_s, untold_s)
    _require_kernels(events)
    kernels = _kernels(events, {each.number: each.key for each in host.operators})
    idle_s = max(0.0, plain.wall_s - sum(seconds for _, seconds in kernels))
    begun_s = idle_s * within_s / max(within_s + between_s, 1e-12)
    between_s = idle_s - begun_s
    asleep_s, untold_s = min(asleep_s, between_s), min(most_s, between_s) - min(asleep_s, between_s)
    return Trace(plain.wall_s, _summed(kernels), between_s - untold_s, begun_s, asleep_s, untold_s)


class _Spent(NamedTuple):
    """Where this thread's time went."""

    wall_s: float
    ran_s: float
    queued_s: float
    """While others had the processor."""
    others_s: float
    """Other threads of this process ran, all together: those that share an operator's work among them."""

    @property
    def asleep_s(self) -> float:
        """Neither."""
        return max(0.0, self.wall_s - self.ran_s - self.queued_s)


def _spent(work: Callable[[], object]) -> _Spent:
    """Of `work`; it ran all the time where the system does not say."""
    begun_s, all_s, began = time.perf_counter(), time.process_time(), _scheduled()
    work()
    ended, all_s, wall_s = _scheduled(), time.process_time() - all_s, time.perf_counter() - begun_s
    if began is None or ended is None:
        return _Spent(wall_s, wall_s, 0.0, 0.0)
    ran_s = ended[0] - began[0]
    return _Spent(wall_s, ran_s, ended[1] - began[1], max(0.0, all_s - ran_s))


class _Called(NamedTuple):
    """One call of an operator."""

    key: Key
    number: int | None
    """By which kernels name it; null of a call to the device's own library."""
    own_s: float
    begun: int
    """Operators that it called itself."""


class _Host(NamedTuple):
    """What the thread that does the work has done."""

    operators: Sequence[_Called]
    between_s: float
    """In no operator."""
    outermost: int
    """Operators that no other has called."""
    queued_s: float
    """In which others had the processor, and that is still in all of this."""


def _host(events: Sequence[Any], spent: _Spent) -> _Host:
    """Who called whom follows from their times, as one thread does one thing at a time."""
    by_thread: defaultdict[int, list[Any]] = defaultdict(list)
    for event in events:
        if not event.name().startswith(OWN) and not event.is_user_annotation():
            by_thread[event.start_thread_id()].append(event)
    busiest = max(by_thread.values(), key=len, default=[])
    busiest.sort(key=lambda event: (event.start_ns(), -event.end_ns()))
    keys = [_key(event) for event in busiest]
    own_ns, begun = [event.duration_ns() for event in busiest], [0] * len(busiest)
    gaps: list[tuple[object, float]] = []
    above: list[int] = []  # places of those that are open
    last: int | None = None  # the outermost before
    for place, event in enumerate(busiest):
        while above and busiest[above[-1]].end_ns() <= event.start_ns():
            above.pop()
        if above:
            own_ns[above[-1]] -= event.duration_ns()
            begun[above[-1]] += 1
        else:
            if last is not None:
                gap_s = (event.start_ns() - busiest[last].end_ns()) / 1e9
                gaps.append(((keys[last], keys[place]), gap_s))
            last = place
        above.append(place)
    calls = [*zip(keys, (each / 1e9 for each in own_ns), strict=True), *gaps]
    kept = _undisturbed(calls, spent.queued_s)
    whole_s = (busiest[last].end_ns() - busiest[0].start_ns()) / 1e9 if last is not None else 0.0
    around_s = max(0.0, spent.wall_s - whole_s)
    called = [
        _Called(key, _number(event), own_s, many)
        for key, event, own_s, many in zip(keys, busiest, kept, begun, strict=False)
    ]
    left_s = max(0.0, spent.queued_s - (sum(seconds for _, seconds in calls) - sum(kept)))
    return _Host(called, sum(kept[len(busiest) :]) + around_s, len(gaps) + 1, left_s)


def _undisturbed(calls: Sequence[tuple[object, float]], queued_s: float) -> list[float]:
    """Seconds of each without those in which others had the processor: `queued_s` in all, of which the
    system does not say when. They are looked for where one took over `LUMP` times as long as its like."""
    alike: defaultdict[object, list[float]] = defaultdict(list)
    for key, seconds in calls:
        alike[key].append(seconds)
    most = {key: LUMP * median(each) for key, each in alike.items() if len(each) >= ALIKE}
    lumps = [max(0.0, seconds - most.get(key, seconds)) for key, seconds in calls]
    share = min(1.0, queued_s / max(sum(lumps), 1e-12))
    return [seconds - share * lump for (_, seconds), lump in zip(calls, lumps, strict=True)]


def _key(event: Any) -> Key:
    """Its name, and the shapes and numbers of its inputs, of a list of tensors each."""
    shapes: list[tuple[int, ...]] = []
    numbers: list[str] = []
    for shape, form in zip_longest(event.structured_input_shapes(), event.dtypes(), fillvalue=()):
        each = shape if shape and isinstance(shape[0], list) else [shape]
        shapes += map(tuple, each)
        numbers += [form or ""] * len(each)
    return event.name(), tuple(shapes), tuple(numbers)


def _number(event: Any) -> int | None:
    return None if event.linked_correlation_id() else event.correlation_id()


def _require_kernels(events: Sequence[Any]) -> None:
    """Torch itself only warns where it may not look into the GPU, and its whole time would pass for gaps."""
    launches = sum(
        LAUNCH.search(event.name()) is not None
        for event in events
        if event.device_type() == DeviceType.CPU
    )
    kernels = sum(
        event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
        for event in events
    )
    if not kernels or kernels < FEW * launches:
        raise Unavailable(
            f"torch's profiler saw {kernels} kernels on the GPU for {launches} launches: end any other "
            "profiler that is attached to it, or let this user count there (the driver's option "
            "NVreg_RestrictProfilingToAdminUsers=0)."
        )


def _kernels(events: Sequence[Any], operators: dict[int | None, Key]) -> list[tuple[Key, float]]:
    """Seconds of each kernel, by the operator that has begun it; where none has, by its own name."""
    return [
        (
            operators.get(event.linked_correlation_id(), (event.name(), (), ())),
            event.duration_ns() / 1e9,
        )
        for event in events
        if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
    ]


def _summed(calls: Iterable[tuple[Key, float]]) -> tuple[Operation, ...]:
    """Those of one name and inputs together."""
    seconds: defaultdict[Key, float] = defaultdict(float)
    many: defaultdict[Key, int] = defaultdict(int)
    for key, own_s in calls:
        seconds[key] += own_s
        many[key] += 1
    return tuple(Operation(*key, many[key], seconds[key]) for key in seconds)


def _scheduled() -> tuple[float, float] | None:
    """Seconds that this thread has run, and waited for a processor; null where the system does not say."""
    with suppress(OSError, ValueError):
        ran, queued = SCHEDULED.read_text().split()[:2]
        return int(ran) / 1e9, int(queued) / 1e9
    return None
