"""What the tables and figures show: completed runs as rows, in groups that may be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from statistics import geometric_mean
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from greenbench.analysis import accuracy
from greenbench.analysis.frontiers.axis import axis_of, level_of, ratio_of
from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.analysis.frontiers.frontier_confidence import (
    LIKELY,
    Standing,
    draw,
    hypervolume,
    standings,
)
from greenbench.analysis.groups.comparable import CLOSED, Setting, rank, setting
from greenbench.analysis.groups.orders import ORDERS, QUESTION
from greenbench.analysis.groups.sessions import by_run
from greenbench.analysis.verdicts import judge_sweep
from greenbench.records.store import told_apart
from greenbench.schema.metrics import ENERGY_PER_TOKEN, Metric
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing, named
from greenbench.schema.record import Record
from greenbench.schema.verdict import Verdict
from greenbench.stats.intervals import Interval
from greenbench.stats.sessions import Pooled

FLAGGED = "⚑"


@dataclass(frozen=True)
class Row:
    """A completed run, as its line in a table shows it."""

    record: Record
    label: str
    axis: Metric = ENERGY_PER_TOKEN
    """What its table's frontier sets against quality."""
    frontier: bool = False
    """Whether no other run beats it, here and in half of the draws or more."""
    standing: Standing | None = None
    """How sure that is; null without joules or accuracy."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By the name of their ratio, judged over all runs of the group that have one, A/A included."""
    twin: Record | None = None
    """Where this one's candidate ran eager beside a compiled baseline: the run of the same technique against
    an eager one, if there is any."""
    among: str = ""
    """What its record goes by where others have its key: see `told_apart`."""
    sessions: tuple[Record, ...] = ()
    """In which it was measured, where they are several: `record` has the ratios of all of them."""
    pools: Mapping[str, Pooled] = field(default_factory=dict)
    """By ratio, what all sessions say of it."""

    @property
    def name(self) -> str:
        """What its record goes by."""
        return self.among or self.record.key

    @property
    def is_baseline(self) -> bool:
        """Whether this is the A/A run."""
        return not self.record.spec.technique

    @property
    def why_eager(self) -> str | None:
        """Why the candidate alone ran eager; null: both models ran alike."""
        eager = self.record.engine.eager if self.record.engine else {}
        return eager.get("candidate") if "baseline" not in eager else None

    @property
    def energy_both_eager(self) -> Quantity:
        """J/token over an eager baseline's, of a candidate that ran eager beside a compiled one."""
        if self.why_eager is None:
            return missing("ratio", "both models ran alike")
        if self.twin is None:
            return missing("ratio", "not measured with engine.reference=eager")
        return named(self.twin.ratios, ENERGY_PER_TOKEN.ratio, "ratio")

    @property
    def flagged(self) -> bool:
        """Whether something disturbed the run, though not enough to leave it out."""
        return self.record.validity == "flagged"

    @cached_property
    def metrics(self) -> Mapping[str, Quantity]:
        """The candidate's numbers by name."""
        return self.record.candidate.metrics if self.record.candidate else {}

    @cached_property
    def baseline(self) -> Mapping[str, Quantity]:
        """The baseline's numbers by name."""
        return self.record.baseline.metrics if self.record.baseline else {}

    @cached_property
    def energy(self) -> Quantity:
        """Joules per generated token, idle included."""
        return ENERGY_PER_TOKEN.level(self.metrics)

    @cached_property
    def quality(self) -> Quantity:
        """Accuracy over all items, in %."""
        return accuracy.accuracy(self.record.quality)

    @cached_property
    def baseline_quality(self) -> Quantity:
        """The baseline's accuracy over all items, in %."""
        return accuracy.baseline_accuracy(self.record.quality)

    @cached_property
    def change(self) -> Quantity:
        """Change of accuracy in points, paired by item."""
        return accuracy.accuracy_change(self.record.quality)

    @cached_property
    def bits_per_byte(self) -> TaskScore | None:
        """Bits per byte on text, if scored."""
        return accuracy.bits_per_byte(self.record.quality)

    @property
    def point(self) -> Point | None:
        """Quality in % and, on the frontier's axis, energy as a ratio to the baseline, where both exist.

        The ratio is paired within the run; joules of two runs also differ by what the machine did in
        between.
        """
        ratio = self.ratio(self.axis).value
        if self.quality.value is None or ratio is None:
            return None
        return Point(self.quality.value, ratio)

    @property
    def is_lossless(self) -> bool:
        """Whether its techniques give the baseline's own tokens by construction, and no loss was measured."""
        parts, bounds = self.record.techniques, self.change.bounds
        return (
            bool(parts) and all(part.lossless for part in parts) and not (bounds and bounds[1] < 0)
        )

    def metric(self, metric: Metric) -> Quantity:
        """One of the candidate's numbers."""
        return metric.level(self.metrics)

    def ratio(self, metric: Metric) -> Quantity:
        """Candidate over baseline."""
        return ratio_of(metric, self.record.ratios)


Beside: TypeAlias = Mapping[Setting, Mapping[str, Sequence[float]]]
"""By group and metric, p-values of runs that are not shown."""
Twins: TypeAlias = Mapping[tuple[Setting, str], Record]
"""By group and techniques, a run."""


class Group(NamedTuple):
    """Rows that may be compared, by default the best that lose at most a point of quality first."""

    setting: Setting
    rows: list[Row]
    volume: Interval | None
    """Hypervolume of the frontier, in points of quality times share of the baseline's energy."""

    @property
    def axis(self) -> Metric:
        """What the frontier sets against quality."""
        return self.rows[0].axis

    @property
    def baseline_level(self) -> float | None:
        """Geometric mean over the runs of the baseline's own, on the frontier's axis."""
        known = [level_of(self.axis, row.baseline).value for row in self.rows]
        values = [value for value in known if value and value > 0]
        return geometric_mean(values) if values else None


def groups(
    records: Iterable[Record], beside: Beside = MappingProxyType({}), order: str = QUESTION
) -> list[Group]:
    """Completed and not invalid `records` of models that served, in groups, the most trustworthy first.

    Whatever their order was. `beside` holds p-values of runs of these groups that are not among
    `records`, so that verdicts hold over all. `order`, of `ORDERS`, is that of the rows of each.
    """
    read = list(records)
    usable = (r for r in read if r.status == "completed" and r.training is None)
    ranked = sorted(
        ((setting(record), record) for record in usable if not is_invalid(record)),
        key=lambda pair: (rank(pair[0]), pair[1].key, pair[1].started_at),
    )
    names = told_apart(read)
    twins = {(key, _stack(record)): record for key, record in ranked}
    together = groupby(ranked, key=lambda pair: pair[0])
    return [
        _group(key, [record for _, record in pairs], names, beside.get(key, {}), twins, order)
        for key, pairs in together
    ]


def is_invalid(record: Record) -> bool:
    """Whether a run has numbers that nothing may rest on."""
    return record.status == "completed" and record.validity == "invalid"


def technique(record: Record) -> str:
    """The technique's label, without the model's name that may stand before it."""
    return record.name.removeprefix(f"{record.spec.model.name}-") or "none"


def _stack(record: Record) -> str:
    """Its techniques with all their knobs."""
    return repr([chosen.model_dump() for chosen in record.spec.technique])


def _group(
    key: Setting,
    records: Sequence[Record],
    names: Mapping[int, str],
    beside: Mapping[str, Sequence[float]],
    twins: Twins,
    order: str,
) -> Group:
    by_joules = key.measured or key.load != CLOSED  # under a load both are as fast as requests come
    axis = axis_of(records, measured=by_joules)
    rows = [
        replace(
            row,
            axis=axis,
            twin=twins.get((key.usual, _stack(row.record))) if row.why_eager else None,
        )
        for row in _judged(_labelled(records, names), beside)
    ]
    found = draw({row.label: row.sessions or (row.record,) for row in rows}, axis)
    place = ORDERS[order]
    placed = sorted(_placed(rows, standings(found)), key=lambda row: (*place(row, key), row.label))
    return Group(key, placed, hypervolume(found))


def _labelled(records: Sequence[Record], names: Mapping[int, str]) -> list[Row]:
    """A row for each run, in however many sessions; runs that share a label are numbered, by key."""
    runs = by_run(records)
    uses, seen = Counter(technique(run.record) for run in runs), Counter[str]()
    rows = []
    for run in runs:
        label = technique(run.record)
        seen[label] += 1
        shown = label if uses[label] == 1 else f"{label} #{seen[label]}"
        several = run.sessions if len(run.sessions) > 1 else ()
        among = names[id(run.sessions[0])]
        rows.append(Row(run.record, shown, among=among, sessions=several, pools=run.found))
    return rows


def _judged(rows: Sequence[Row], beside: Mapping[str, Sequence[float]]) -> list[Row]:
    """Rows with their stored verdicts judged anew: Holm, over the group, for each metric."""
    found = iter(judge_sweep([v for row in rows for v in row.record.verdicts.values()], beside))
    return [
        replace(row, verdicts={name: next(found) for name in row.record.verdicts}) for row in rows
    ]


def _placed(rows: Sequence[Row], found: Mapping[str, Standing]) -> list[Row]:
    placed = [(index, row.point) for index, row in enumerate(rows) if row.point]
    members = on_frontier([point for _, point in placed if point])
    marked = {index: member for (index, _), member in zip(placed, members, strict=True)}
    return [
        replace(row, frontier=marked.get(index, False) and _likely(standing), standing=standing)
        for index, row in enumerate(rows)
        for standing in [found.get(row.label)]
    ]


def _likely(standing: Standing | None) -> bool:
    return standing is None or standing.probability >= LIKELY
