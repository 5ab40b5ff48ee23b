"""The same run over many nights: where its numbers stepped, and what had changed in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log
from typing import Final, NamedTuple

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
Versions = Mapping[str, str]


class Changed(NamedTuple):
    """What was another before a step than behind it; null: it was not there."""

    name: str
    before: str | None
    after: str | None


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


class Watched(NamedTuple):
    """All that was looked at."""

    found: list[Found]
    series: int
    """Numbers that were watched."""
    short: int
    """Runs with too few nights to watch them."""


class _Series(NamedTuple):
    label: str
    what: str
    metric: Metric
    nights: Sequence[Record]
    values: Sequence[float]


def watch(records: Iterable[Record], alarms: float = ALARMS) -> Watched:
    """Steps over 2 % in all series of the same run, oldest first.

    The same run is the same spec but for versions and settings of the machine. `alarms`: false ones that may
    be expected of a night, shared by all series, if nights without a change differ by chance alone.
    """
    runs = _runs(records)
    series = [each for nights in runs.values() for each in _series(nights)]
    found = [
        _found(each, step)
        for each in series
        for step in steps(each.values, alarms / len(series), EFFECT)
    ]
    short = sum(len(nights) < FEWEST + 2 for nights in runs.values())
    return Watched(sorted(found, key=lambda step: step.began), len(series), short)


def _runs(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Nights of each run, in order."""
    together: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda each: each.started_at):
        if record.status == "completed" and not is_invalid(record):
            spec = record.spec.model_dump(mode="json", exclude={"inputs", "session"})
            together.setdefault(key_of(spec), []).append(record)
    return together


def _series(nights: Sequence[Record]) -> Iterator[_Series]:
    """Numbers that all nights have, as logarithms; joules where they were measured."""
    if len(nights) < FEWEST + 2:
        return
    for metric in METRICS:
        for what in ("ratio", *WHO):
            found = [(night, _number(night, what, metric)) for night in nights]
            kept = [
                (night, log(each.value))
                for night, each in found
                if each.value and each.value > 0 and not each.is_estimate
            ]
            if len(kept) >= FEWEST + 2:
                mine, values = zip(*kept, strict=True)
                yield _Series(nights[-1].name, what, metric, mine, values)


def _number(night: Record, what: str, metric: Metric) -> Quantity:
    if what == "ratio":
        return named(night.ratios, metric.ratio, "ratio")
    subject = night.baseline if what == "baseline" else night.candidate
    return metric.level(subject.metrics if subject else {})


def _found(series: _Series, step: Step) -> Found:
    nights = series.nights
    return Found(
        series.label, series.what, series.metric, from_logs(step.size), nights[step.at].started_at,
        len(nights) - step.at, step.seen == len(nights) - 1,
        changes(nights[step.at - 1], nights[step.at]),
    )  # fmt: skip


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
