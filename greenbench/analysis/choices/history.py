"""The same run over many nights: where its numbers stepped, and what had changed in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from math import log
from typing import Final, NamedTuple

from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import is_invalid
from greenbench.analysis.yardstick import EFFECT
from greenbench.models.keys import key_of
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity, named
from greenbench.schema.record import Record
from greenbench.schema.window import WHO
from greenbench.stats.change_points import FEWEST, Step, steps
from greenbench.stats.intervals import Interval, from_logs

ALARMS: Final = 0.01
"""False alarms of a night, of all series together."""
METRICS: Final = (ENERGY_PER_TOKEN, TOKENS_PER_S)
NIGHT: Final = timedelta(hours=18)
"""Within which all runs of a night begin."""


class Changed(NamedTuple):
    """What was another before a step than behind it; null: it was not there."""

    name: str
    before: str | None
    after: str | None
    nights_off: int = 0
    """Of a step: -1 where it was another already the night before, 1 where only the night behind."""


class Found(NamedTuple):
    """A step in one number of one run."""

    label: str
    """The run's."""
    what: str
    """Whose number: ``baseline``, ``candidate``, or ``ratio`` of both."""
    metric: Metric
    size: Interval
    """Level behind over level before."""
    began: str
    """When the first night behind it was measured."""
    nights: int
    """Since then, that one included."""
    is_new: bool
    """Whether it was seen with the newest night."""
    changed: list[Changed]
    """With it, then a night before and behind, as it may be placed one night off."""
    night: Record
    """The first one behind it."""


class Series(NamedTuple):
    """One number of one run, night after night."""

    label: str
    """The run's."""
    what: str
    """As `Found.what`."""
    metric: Metric
    nights: Sequence[Record]
    values: Sequence[float]
    """Logarithms."""
    steps: Sequence[Step] = ()


class Watched(NamedTuple):
    """All that was looked at."""

    found: list[Found]
    series: list[Series]
    """Numbers that were watched."""
    short: int
    """Runs with too few nights to watch them."""
    lost: list[str]
    """Runs whose newest record has no result that may be shown."""


def watch(records: Iterable[Record], alarms: float = ALARMS) -> Watched:
    """Steps over 2 % in all series of the same run, oldest first.

    The same run is the same spec and session but for versions and settings of the machine, with joules of
    the same meter. `alarms`: false ones that may be expected of a night, shared by all series, if nights
    without a change differ by chance alone.
    """
    every = sorted(records, key=lambda each: each.started_at)
    usable = [each for each in every if each.status == "completed" and not is_invalid(each)]
    runs = _together(usable, lambda each: (_same(each), *_meter(each)))
    plain = [each for nights in runs.values() for each in _series(nights)]
    series = [
        each._replace(steps=steps(each.values, alarms / len(plain), EFFECT)) for each in plain
    ]
    newest = every[-1].started_at if every else ""
    found = [_found(each, step, newest) for each in series for step in each.steps]
    short = sum(len(nights) < FEWEST + 2 for nights in runs.values())
    lasts = [nights[-1] for nights in _together(every, lambda each: (_same(each),)).values()]
    lost = [_label(last) for last in lasts if last.status != "completed" or is_invalid(last)]
    return Watched(sorted(found, key=lambda step: step.began), series, short, lost)


def _together(
    records: Iterable[Record], name: Callable[[Record], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Record]]:
    """Nights of each run, in order."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(name(record), []).append(record)
    return found


def _same(record: Record) -> str:
    return key_of(record.spec.model_dump(mode="json", exclude={"inputs"}))


def _meter(record: Record) -> tuple[str, str]:
    """Joules of two meters, or of two boundaries, are two numbers."""
    where = setting(record)
    return where.source, where.boundary


def _label(record: Record) -> str:
    """Its techniques, and what was asked."""
    return f"{record.name} ({setting(record).asked})"


def _series(nights: Sequence[Record]) -> Iterator[Series]:
    """Numbers that all nights have, as logarithms; joules where they were measured."""
    if len(nights) < FEWEST + 2:
        return
    for metric in METRICS:
        for what in ("ratio", *WHO):
            found = [(night, number(night, what, metric)) for night in nights]
            kept = [
                (night, log(each.value))
                for night, each in found
                if each.value and each.value > 0 and not each.is_estimate
            ]
            if len(kept) >= FEWEST + 2:
                mine, values = zip(*kept, strict=True)
                yield Series(_label(nights[-1]), what, metric, mine, values)


def number(night: Record, what: str, metric: Metric) -> Quantity:
    """The ratio of `metric`, or its level of the baseline or the candidate, as `what` says."""
    if what == "ratio":
        return named(night.ratios, metric.ratio, "ratio")
    subject = night.baseline if what == "baseline" else night.candidate
    return metric.level(subject.metrics if subject else {})


def _found(series: Series, step: Step, newest: str) -> Found:
    nights = series.nights
    is_last = step.seen == len(nights) - 1 and _same_night(nights[-1].started_at, newest)
    return Found(
        series.label, series.what, series.metric, from_logs(step.size), nights[step.at].started_at,
        len(nights) - step.at, is_last,
        list(_about(nights, step.at)), nights[step.at],
    )  # fmt: skip


def _about(nights: Sequence[Record], at: int) -> Iterator[Changed]:
    """What changed with a step there, and with the nights next to it."""
    for off in (0, -1, 1):
        if 0 < at + off < len(nights):
            for each in changes(nights[at + off - 1], nights[at + off]):
                yield each._replace(nights_off=off)


def _same_night(one: str, other: str) -> bool:
    apart = datetime.fromisoformat(other) - datetime.fromisoformat(one)
    return abs(apart) < NIGHT


def changes(before: Record, after: Record) -> list[Changed]:
    """Versions and settings of the machine that differ between two nights, and the model and text."""
    one, other = _versions(before), _versions(after)
    names = sorted(one.keys() | other.keys())
    return [
        Changed(name, one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]


def _versions(record: Record) -> dict[str, str]:
    inputs = record.spec.inputs
    if inputs is None:
        return {}
    return {
        **inputs.packages, **inputs.machine, **inputs.plugins, **inputs.tasks,
        "the model's content": inputs.model, "the text": inputs.text,
    }  # fmt: skip
