"""Which run to choose under the user's needs, what it would save, and what is not shown yet."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from greenbench.analysis.choices.limits import Check, checks, limits
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.energy.per_request import ALWAYS_ON, BASES, Basis, request_ratio
from greenbench.analysis.energy.savings import DAYS_PER_YEAR, Savings, payback_days, saved
from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import Group, Row, groups, is_invalid, technique
from greenbench.analysis.impact import Assumptions
from greenbench.analysis.yardstick import SOLVED, in_energy
from greenbench.errors import UserError
from greenbench.records.calls import NO_CALL
from greenbench.schema.codes import meaning
from greenbench.schema.metrics import TOKENS_PER_S
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record

STEPS = 3  # commands that a reader will run
MILLION = 1_000_000.0
Answer = Literal["recommended", "keep the baseline", "nothing fits", "not enough evidence"]


class Option(NamedTuple):
    """One run against the needs."""

    row: Row
    checks: list[Check]
    ratio: Quantity
    """Joules per request, or per solved problem, over the baseline's."""
    cases: Mapping[Basis, Savings] = {}
    """Where a saving is shown."""
    payback: Mapping[Basis, Quantity] = {}
    """Days, where requests per day are given."""

    @property
    def saved(self) -> Savings | None:
        """What is saved on a device that stays on, where a saving is shown."""
        return self.cases.get(ALWAYS_ON)

    @property
    def payback_days(self) -> Quantity | None:
        """Days until that has paid for the preparation, where requests per day are given."""
        return self.payback.get(ALWAYS_ON)

    @property
    def remains(self) -> float:
        """Of the baseline's joules: always-on, or of a solved problem where answers were graded."""
        graded = not self.payback and in_energy([self.row]) is SOLVED
        if not graded and self.saved and self.saved.baseline_kwh.value:
            saved = self.saved.energy_kwh.value
            return 1 - saved / self.saved.baseline_kwh.value if saved is not None else 1.0
        return self.ratio.value or 0.0

    @property
    def unsure(self) -> list[Check]:
        """Needs that it neither keeps nor breaks for sure."""
        return [check for check in self.checks if check.outcome == "unsure"]

    @property
    def broken(self) -> list[Check]:
        """Needs that it is shown to break."""
        return [check for check in self.checks if check.outcome == "broken"]


class Step(NamedTuple):
    """A run that would settle what is open."""

    why: str
    command: str


class Advice(NamedTuple):
    """The answer for one group of runs that may be compared."""

    group: Group
    answer: Answer
    best: Option | None
    runners_up: list[Option]
    undecided: list[Option]
    """The most promising first."""
    left_out: list[Option]
    baseline: list[Check]
    """The baseline's own latency and memory."""
    steps: list[Step]


def advise(
    records: Sequence[Record],
    wanted: Needs,
    given: Assumptions,
    *,
    model: str = "",
    device: str = "",
) -> list[Advice]:
    """Advice for each group, the most trustworthy first; none without a completed, valid run.

    `model` and `device` keep groups whose name holds them. Raises UserError where none does.
    """
    spoiled = [record for record in records if is_invalid(record)]
    kept = chosen(records, model=model, device=device)
    return [_advice(group, wanted, given, spoiled) for group in kept]


def chosen(records: Sequence[Record], *, model: str = "", device: str = "") -> list[Group]:
    """Groups whose model and device hold the names. Raises UserError where there are groups and none does."""
    found = groups(records)
    kept = [
        group
        for group in found
        if model.lower() in group.setting.model.lower()
        and device.lower() in group.setting.device.lower()
    ]
    if found and not kept:
        places = sorted({f"{g.setting.model} on {g.setting.device}" for g in found})
        raise UserError(f"No run is of that model and device: there are {'; '.join(places)}.")
    return kept


def _ratio(row: Row, rate: float | None) -> Quantity:
    """Per solved problem where answers were graded and no rate is asked for."""
    yardstick = in_energy([row])
    if rate is None and yardstick is SOLVED:
        return row.ratio(yardstick.metric)
    return request_ratio(row, rate)


def _advice(group: Group, wanted: Needs, given: Assumptions, spoiled: Sequence[Record]) -> Advice:
    options = [
        Option(row, checks(row, wanted), _ratio(row, wanted.rate_s))
        for row in group.rows
        if not row.is_baseline
    ]
    sure = [o for o in options if not o.unsure and not o.broken]
    fitting = sorted((_priced(o, wanted, given) for o in sure), key=_saving_first)
    undecided = sorted((o for o in options if o.unsure and not o.broken), key=_promising_first)
    baseline = limits(group.rows[0].baseline, wanted, group.setting.tier)
    again = _again(group, spoiled)
    doubtful = [option for option in undecided if _could_beat(option, fitting)]
    steps = [*map(_settle, doubtful[:STEPS]), *again[:STEPS]]
    return Advice(
        group=group,
        answer=_answer(fitting, bool(undecided or again or not options), baseline),
        best=fitting[0] if fitting else None,
        runners_up=fitting[1:],
        undecided=undecided,
        left_out=[option for option in options if option.broken],
        baseline=baseline,
        steps=steps or ([] if options else [_sweep(group)]),
    )


def _answer(fitting: Sequence[Option], is_open: bool, baseline: Sequence[Check]) -> Answer:
    if fitting:
        return "recommended"
    if is_open:
        return "not enough evidence"
    misfits = any(check.outcome == "broken" for check in baseline)
    return "nothing fits" if misfits else "keep the baseline"


def _saving_first(option: Option) -> tuple[float, str]:
    return option.remains, option.row.label


def _promising_first(option: Option) -> tuple[int, float, str]:
    """Those whose best guess keeps every need first, then by joules; by speed if those are no guide."""
    doubts = sum(not check.likely for check in option.unsure)
    speed = option.row.ratio(TOKENS_PER_S).value or 1.0
    measured = option.row.energy.is_measured
    ratio = option.ratio.value if measured and option.ratio.value else 1 / speed
    return doubts, ratio, option.row.label


def _could_beat(option: Option, fitting: Sequence[Option]) -> bool:
    """Whether settling it could change the answer."""
    if not fitting:
        return True
    low = option.ratio.bounds
    return all(check.likely for check in option.unsure) and (
        low is None or low[0] < (fitting[0].ratio.value or 0.0)
    )


def _priced(option: Option, wanted: Needs, given: Assumptions) -> Option:
    row, daily = option.row, wanted.daily
    requests, days = (daily * DAYS_PER_YEAR, DAYS_PER_YEAR) if daily else (MILLION, None)
    return option._replace(
        cases={basis: saved(row, given, requests, basis, days) for basis in BASES},
        payback={basis: payback_days(row, daily, basis) for basis in BASES} if daily else {},
    )


def _settle(option: Option) -> Step:
    changes: dict[str, str] = {}
    for check in option.unsure:
        changes |= check.settle
    takes = dict.fromkeys(check.takes or f"a record of its {check.what}" for check in option.unsure)
    why = f"{option.row.label}: {' and '.join(takes)}"
    return Step(why, with_changes(option.row.record.command, changes))


def _again(group: Group, spoiled: Iterable[Record]) -> list[Step]:
    """Runs of this place that something spoiled."""
    mine = [record for record in spoiled if _place(record) == _place(group.rows[0].record)]
    return [
        Step(
            f"{technique(record)}: its run is invalid ({'; '.join(map(meaning, record.codes))}): "
            "run it again undisturbed",
            with_changes(record.command, {"force": "true"}),
        )
        for record in sorted(mine, key=lambda record: (technique(record), record.key))
    ]


def _place(record: Record) -> tuple[str, ...]:
    here = setting(record)
    return (
        here.model,
        here.device,
        here.workload,
        here.tasks,
        here.fingerprint,
        here.engine,
        here.version,
        here.load,
    )


def _sweep(group: Group) -> Step:
    kind = group.rows[0].record.spec.device.kind
    return Step(
        "only the A/A run is here: measure techniques beside it",
        f"greenbench bench --multirun +experiments=frontier-{'cpu' if kind == 'cpu' else 'gpu'}",
    )


def with_changes(command: str, changes: Mapping[str, str]) -> str:
    """`command` with overrides replaced or added, in words that a shell takes."""
    if command == NO_CALL:
        return command
    try:
        words = shlex.split(command)
    except ValueError:  # not one that GreenBench wrote
        words = [command]
    kept = [word for word in words if word.partition("=")[0] not in changes]
    return shlex.join([*kept, *(f"{key}={value}" for key, value in changes.items())])
