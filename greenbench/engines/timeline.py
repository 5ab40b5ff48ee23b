"""What a profiler of torch saw of one process, told apart: operators, what is between them, and kernels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from re import compile as pattern
from statistics import fmean, median
from typing import Any, Final, NamedTuple

from greenbench.errors import Unavailable
from greenbench.schema.profile import Operation, Trace

OWN: Final = ("[memory]", "[OutOfMemory]", "ProfilerStep", "profiler::")
"""How what the profiler says of itself begins."""
LUMP: Final = 3.0
"""Times the median of its like: one that took longer may have been disturbed."""
ALIKE: Final = 3
"""Calls from which there is a median."""
LAUNCH: Final = pattern(r"Launch\w*Kernel|GraphLaunch")
"""How calls are named that begin kernels on a GPU: one each, or a graph of many."""
FEW: Final = 0.5
"""Kernels for each launch: fewer were not all seen."""
REGION: Final = " "
"""In the names that torch gives to what it compiled, and in no operator's."""

Key = tuple[str, tuple[tuple[int, ...], ...], tuple[str, ...]]
"""Its name, and the shapes and numbers of its inputs, of a list of tensors each."""


class Event(NamedTuple):
    """One operator, call of the device's library, or kernel."""

    key: Key
    start_ns: int
    end_ns: int
    thread: int
    number: int | None = None
    """Of an operator, by which its kernels name it."""
    begun_by: int | None = None
    """Of a kernel: that number."""
    on_device: bool = False
    """Whether it is a kernel."""


class Spent(NamedTuple):
    """Where a thread's time went."""

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


def busiest(events: Iterable[Event]) -> list[Event]:
    """Those of the thread that has most of them, which does the work; kernels are no thread's."""
    by_thread: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        if not event.on_device and not event.key[0].startswith(OWN):
            by_thread[event.thread].append(event)
    return max(by_thread.values(), key=len, default=[])


def trace(events: Sequence[Event], plain: Spent, longer: Spent, *, on_gpu: bool) -> Trace:
    """One process's, whose work was done once as always (`plain`) and once under the profiler (`longer`).

    The profiler takes time at every operator, outside of it: what the second took longer is taken off in
    equal parts where operators begin. So is, in proportion, the time in which others had the processor. Of a
    GPU the operators' time is that of their kernels; raises Unavailable where these are not seen.
    """
    host = _host(busiest(events), longer)
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
    begun: dict[int | None, Key] = {
        each.number: each.key
        for each in host.operators
        if each.number and REGION not in each.key[0]
    }
    kernels = _kernels(events, begun)
    idle_s = max(0.0, plain.wall_s - sum(seconds for _, seconds in kernels))
    begun_s = idle_s * within_s / max(within_s + between_s, 1e-12)
    between_s = idle_s - begun_s
    asleep_s, untold_s = min(asleep_s, between_s), min(most_s, between_s) - min(asleep_s, between_s)
    return Trace(plain.wall_s, _summed(kernels), between_s - untold_s, begun_s, asleep_s, untold_s)


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


def _host(events: list[Event], spent: Spent) -> _Host:
    """Who called whom follows from their times, as one thread does one thing at a time."""
    events.sort(key=lambda event: (event.start_ns, -event.end_ns))
    own_ns, begun = [event.end_ns - event.start_ns for event in events], [0] * len(events)
    gaps: list[tuple[object, float]] = []
    above: list[int] = []  # places of those that are open
    last: int | None = None  # the outermost before
    for place, event in enumerate(events):
        while above and events[above[-1]].end_ns <= event.start_ns:
            above.pop()
        if above:
            own_ns[above[-1]] -= event.end_ns - event.start_ns
            begun[above[-1]] += 1
        else:
            if last is not None:
                gap_s = (event.start_ns - events[last].end_ns) / 1e9
                gaps.append(((events[last].key, event.key), gap_s))
            last = place
        above.append(place)
    calls = [*((each.key, own / 1e9) for each, own in zip(events, own_ns, strict=True)), *gaps]
    kept = _undisturbed(calls, spent.queued_s)
    whole_s = (events[last].end_ns - events[0].start_ns) / 1e9 if last is not None else 0.0
    around_s = max(0.0, spent.wall_s - whole_s)
    called = [
        _Called(event.key, event.number, own_s, many)
        for event, own_s, many in zip(events, kept, begun, strict=False)
    ]
    left_s = max(0.0, spent.queued_s - (sum(seconds for _, seconds in calls) - sum(kept)))
    return _Host(called, sum(kept[len(events) :]) + around_s, len(gaps) + 1, left_s)


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


def _require_kernels(events: Sequence[Event]) -> None:
    """Torch itself only warns where it may not look into the GPU, and its whole time would pass for gaps."""
    launches = sum(
        LAUNCH.search(event.key[0]) is not None for event in events if not event.on_device
    )
    kernels = sum(event.on_device for event in events)
    if not kernels or kernels < FEW * launches:
        raise Unavailable(
            f"torch's profiler saw {kernels} kernels on the GPU for {launches} launches: end any other "
            "profiler that is attached to it, or let this user count there (the driver's option "
            "NVreg_RestrictProfilingToAdminUsers=0)."
        )


def _kernels(
    events: Sequence[Event], operators: Mapping[int | None, Key]
) -> list[tuple[Key, float]]:
    """Seconds of each kernel, by the operator that has begun it; where none has, by its own name."""
    return [
        (
            operators.get(event.begun_by, (event.key[0], (), ())),
            (event.end_ns - event.start_ns) / 1e9,
        )
        for event in events
        if event.on_device
    ]


def mean(traces: Sequence[Trace]) -> Trace:
    """Of processes that did the same work beside each other, each with its share of it."""
    seconds: defaultdict[Key, float] = defaultdict(float)
    many: Counter[Key] = Counter()
    for each in (operation for one in traces for operation in one.operations):
        seconds[each[:3]] += each.seconds / len(traces)
        many[each[:3]] += each.calls
    operations = (Operation(*key, round(many[key] / len(traces)), seconds[key]) for key in seconds)
    return Trace(
        fmean(each.wall_s for each in traces),
        tuple(operations),
        fmean(each.between_s for each in traces),
        fmean(each.launching_s for each in traces),
        fmean(each.asleep_s for each in traces),
        fmean(each.untold_s for each in traces),
    )


def _summed(calls: Iterable[tuple[Key, float]]) -> tuple[Operation, ...]:
    """Those of one name and inputs together."""
    seconds: defaultdict[Key, float] = defaultdict(float)
    many: defaultdict[Key, int] = defaultdict(int)
    for key, own_s in calls:
        seconds[key] += own_s
        many[key] += 1
    return tuple(Operation(*key, many[key], seconds[key]) for key in seconds)


def key(name: str, shapes: Iterable[Any], numbers: Iterable[str]) -> Key:
    """Of an operator whose inputs are given as torch gives them: a list of tensors within the list."""
    found: list[tuple[int, ...]] = []
    forms: list[str] = []
    for shape, form in zip_longest(shapes, numbers, fillvalue=()):
        each = shape if shape and isinstance(shape[0], list) else [shape]
        found += map(tuple, each)
        forms += [form or ""] * len(each)
    return name, tuple(found), tuple(forms)
