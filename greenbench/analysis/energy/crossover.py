"""Where a technique stops paying: its ratio against batch size, prompt and answer length, and rate."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final, Literal, NamedTuple

from greenbench.analysis.groups.comparable import CLOSED, Setting
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.yardstick import EFFECT, ENERGY, SPEED, Yardstick
from greenbench.schema.quantity import Quantity
from greenbench.schema.resolved import ResolvedSpec

State = Literal["pays", "costs", "changes nothing", "not known"]


class Axis(NamedTuple):
    """A key of the workload, or of the load, that a sweep varied."""

    key: str
    noun: str
    unit: str
    at: Callable[[ResolvedSpec], float | None]
    """Null of a run that has no one value of it."""


def _rate(spec: ResolvedSpec) -> float | None:
    return spec.load.rate if isinstance(spec.load.rate, int | float) else None


AXES: Final = (
    Axis("batch_size", "batch", "requests at once", lambda spec: spec.workload.batch_size),
    Axis("prompt_tokens", "prompt", "tokens in", lambda spec: spec.workload.prompt_tokens),
    Axis("output_tokens", "answer", "tokens out", lambda spec: spec.workload.output_tokens),
    Axis("rate", "rate", "requests/s", _rate),
)


class Point(NamedTuple):
    """A technique's ratio at one value of the axis."""

    at: float
    ratio: Quantity
    state: State


class Series(NamedTuple):
    """One technique along one axis, all else equal; at least two values."""

    label: str
    points: list[Point]


class Crossing(NamedTuple):
    """The techniques of one model, device and workload along one axis."""

    axis: Axis
    setting: Setting
    """Of the first run; its workload names one value of the axis."""
    rest: str
    """What the runs share of their workload."""
    yardstick: Yardstick
    series: list[Series]

    @property
    def title(self) -> str:
        """Model, device and what the workloads share."""
        return f"{self.setting.place}, {self.rest}"


def crossings(groups: Sequence[Group]) -> list[Crossing]:
    """Every axis along which the same technique ran at two values or more."""
    return [found for axis in AXES for found in _along(axis, groups)]


def _along(axis: Axis, groups: Sequence[Group]) -> list[Crossing]:
    """Rows by what they share, without the axis and without the workload's name."""
    together: defaultdict[str, list[tuple[Setting, Row]]] = defaultdict(list)
    for group in groups:
        for row in group.rows:
            if axis.at(row.record.spec) is None:
                continue
            together[_shared(axis, group.setting, row)].append((group.setting, row))
    found = (_crossing(axis, rows) for rows in together.values())
    return [crossing for crossing in found if crossing]


def _shared(axis: Axis, setting: Setting, row: Row) -> str:
    spec = row.record.spec
    rest = spec.workload.model_dump(exclude={axis.key, "name"})
    load = spec.load.model_dump(exclude={axis.key})
    place = setting._replace(workload="", load="")
    return json.dumps([*place, rest, load, spec.slo.model_dump()])


def _crossing(axis: Axis, rows: Sequence[tuple[Setting, Row]]) -> Crossing | None:
    setting, first = rows[0]
    yardstick = ENERGY if setting.measured else SPEED
    by_name: defaultdict[str, list[Row]] = defaultdict(list)
    for _, row in rows:
        if not row.is_baseline:
            by_name[_technique(row)].append(row)
    every = [Series(n, _points(axis, found, yardstick)) for n, found in sorted(by_name.items())]
    series = [each for each in every if len({point.at for point in each.points}) > 1]
    rest = _rest(axis, setting, first)
    return Crossing(axis, setting, rest, yardstick, series) if series else None


def _technique(row: Row) -> str:
    """The label without the number that tells two runs of one technique in a group apart."""
    return row.label.rpartition(" #")[0] or row.label


def _points(axis: Axis, rows: Sequence[Row], yardstick: Yardstick) -> list[Point]:
    found = [
        Point(at, ratio, _state(ratio, row, yardstick))
        for row in rows
        if (at := axis.at(row.record.spec)) is not None
        and (ratio := row.ratio(yardstick.metric)).value is not None
    ]
    return sorted(found, key=lambda point: (point.at, point.ratio.value))


def _state(ratio: Quantity, row: Row, yardstick: Yardstick) -> State:
    """By the verdict, which is Holm's over the table, or where there is none by the interval."""
    verdict = row.verdicts.get(yardstick.metric.ratio)
    if verdict and not verdict.barred:
        words: dict[str, State] = {
            "saves": "pays",
            "costs": "costs",
            "equivalent": "changes nothing",
        }
        return words.get(verdict.verdict, "not known")
    interval = ratio.bounds
    if interval is None or ratio.value is None or interval[0] <= 1 <= interval[1]:
        return "not known"
    if abs(ratio.value - 1) <= EFFECT:
        return "not known"
    return "pays" if yardstick.sign * (ratio.value - 1) > 0 else "costs"


def _rest(axis: Axis, setting: Setting, row: Row) -> str:
    workload = row.record.spec.workload
    closed = setting.load == CLOSED
    words = {
        "batch_size": f"batch {workload.batch_size}",
        "prompt_tokens": f"{workload.prompt_tokens} tokens in",
        "output_tokens": f"{workload.output_tokens} out",
    }
    left_out = {axis.key} if closed else {axis.key, "batch_size"}
    parts = [said for key, said in words.items() if key not in left_out]
    arrivals = f"{row.record.spec.load.arrivals} arrivals" if axis.key == "rate" else setting.load
    return ", ".join(parts if closed else [*parts, arrivals])


def told(series: Series, axis: Axis) -> str:
    """One sentence: from which value on a technique pays, as far as the runs show it.

    Two runs at one value that disagree leave it not known.
    """
    states = _by_value(series)
    values = [at for at, _ in states]
    parts = [
        _segment([at for at, _ in run], values, word, axis)
        for word, segment in groupby(states, key=lambda pair: pair[1])
        if (run := list(segment))
    ]
    if not any(state == "pays" for _, state in states):
        parts.append(f"it is shown to pay at no {axis.noun} measured")
    return f"{'; '.join(parts)}."


def _by_value(series: Series) -> list[tuple[float, State]]:
    found: dict[float, State] = {}
    for point in series.points:
        known = found.setdefault(point.at, point.state)
        if known != point.state:
            found[point.at] = "not known"
    return sorted(found.items())


def _segment(run: Sequence[float], values: Sequence[float], word: State, axis: Axis) -> str:
    first, last = shown(run[0]), shown(run[-1])
    if len(run) == len(values):
        return f"{word} at every {axis.noun} measured, {first} to {last}"
    if len(run) == 1:
        return f"{word} at {axis.noun} {first}"
    if run[0] == values[0]:
        return f"{word} from {axis.noun} {last} down"
    if run[-1] == values[-1]:
        return f"{word} from {axis.noun} {first} up"
    return f"{word} from {axis.noun} {first} to {last}"


def shown(at: float) -> str:
    """A value of an axis: counts whole, and rates as they were asked for."""
    return f"{at:.10g}"
