"""What right answers cost: joules per solved item and its factors, from graded answers and their windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf, isnan
from typing import Final, Literal, NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.readings import joules
from greenbench.analysis.verdicts import judge_found
from greenbench.schema.codes import Validity
from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    SHARE_SOLVED,
    TOKENS_PER_ANSWER,
)
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.solved import Lengths, Reply, SolvedItem, SolvedTask, Solving
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import Interval, mean_interval
from greenbench.stats.solving import FACTORS, LEAST_ITEMS, WHOLE, Factor, Group, Split, split

ALL: Final = ""
"""The name of all tasks together."""
UNITS: Final[Mapping[str, str]] = {
    metric.ratio: metric.unit
    for metric in (ENERGY_PER_TOKEN, TOKENS_PER_ANSWER, SHARE_SOLVED, ENERGY_PER_SOLVED)
}
JOULES: Final = (ENERGY_PER_TOKEN.ratio, ENERGY_PER_SOLVED.ratio)


class Graded(NamedTuple):
    """One task's answers with their grades."""

    task: str
    metric: str
    filter: str
    shots: int
    chat: bool
    sampling: str
    indices: Sequence[int]
    documents: Sequence[str]
    groups: Sequence[int]
    replies: Mapping[Who, Sequence[Reply]]
    """Without their joules, which their windows have."""
    higher_is_better: bool = True
    """Of the metric."""

    def value(self, who: Who, place: int) -> float:
        """What the main metric makes of an answer."""
        return self.replies[who][place].grades[self.filter][self.metric]

    @property
    def is_share(self) -> bool:
        """Whether each answer is right (1), wrong (0) or partly right, so that their mean is a share."""
        values = (self.value(who, i) for who in WHO for i in range(len(self.indices)))
        return self.higher_is_better and all(0 <= value <= 1 for value in values)


class Solved(NamedTuple):
    """What is found of a run's graded answers."""

    tasks: list[SolvedTask]
    """Each, and all together after several."""
    verdicts: dict[str, Verdict]
    """On joules per solved item of all; empty without joules."""

    def of(self, side: Literal["baseline", "candidate", "ratio"]) -> Solving | None:
        """Of all together, one model's or their ratio; null where no answers were graded."""
        found: Solving | None = getattr(self.tasks[-1], side) if self.tasks else None
        return found


class _Windows:
    """The windows of groups, by number and model."""

    def __init__(self, windows: Sequence[Window], no_energy: str) -> None:
        self.no_energy = no_energy
        mine = [w for w in windows if w.phase == "solve" and w.place]
        self.found = {(w.place.unit, w.who): w for w in mine if w.place}
        self.spoiled = {w.place.unit for w in mine if w.place and w.validity == "invalid"}
        self.provenance: Provenance = next(
            (w.energy[0].provenance for w in mine if w.energy), "unavailable"
        )

    def energy_j(self, group: int, who: Who) -> float | None:
        """Of one group; null without a meter."""
        window = self.found.get((group, who))
        return joules(window) if window else None


def solved(
    graded: Sequence[Graded],
    windows: Sequence[Window],
    tier: str,
    validity: Validity,
    no_energy: str,
) -> Solved:
    """Tables and verdict; `no_energy` says why there are no joules.

    Groups with an invalid window are left out whole. Tasks whose metric is no share of items have no factors.
    """
    taken = _Windows(windows, no_energy)
    shares = [each for each in graded if each.is_share]
    tasks = [_task([each], taken) for each in shares]
    if len(shares) > 1:
        tasks.append(_task(shares, taken))
    groups = [group for each in shares for group in _groups(each, taken)]
    found = split(groups) if groups else None
    if found is None or WHOLE not in found.ratio:
        return Solved(tasks, {})
    ratio = found.ratio[WHOLE]
    verdict = judge_found(
        ENERGY_PER_SOLVED.ratio,
        ratio,
        found.p_difference,
        found.p_equivalence,
        provenance=taken.provenance,
        tier=tier,
        validity=validity,
        lacking=tasks[-1].claims or (None if _finite(ratio.value) else ratio.reason or "unbounded"),
    )
    return Solved(tasks, {ENERGY_PER_SOLVED.ratio: verdict})


def regraded(record: Record) -> list[Graded]:
    """The graded answers of a record, as they were when it was concluded."""
    return [
        Graded(
            task=task.task,
            metric=task.metric,
            filter=task.filter,
            shots=task.shots,
            chat=task.chat_template,
            sampling=task.sampling,
            indices=[item.index for item in task.items],
            documents=[item.document or str(item.index) for item in task.items],
            groups=[item.group for item in task.items],
            replies={
                "baseline": [item.baseline for item in task.items],
                "candidate": [item.candidate for item in task.items],
            },
        )
        for task in record.solved
        if task.items
    ]


def regrouped(record: Record) -> list[Group]:
    """Of a record with graded answers: what all its tasks' factors were found from."""
    taken = _Windows(record.windows, "")
    return [group for each in regraded(record) for group in _groups(each, taken)]


def _task(parts: Sequence[Graded], taken: _Windows) -> SolvedTask:
    """One, or several as one."""
    first, alone = parts[0], len(parts) == 1
    groups = [group for each in parts for group in _groups(each, taken)]
    found = split(groups) if groups else None
    counted = sum(group.items for group in groups)
    few = f"{counted} items are too few: nothing is claimed of fewer than {LEAST_ITEMS}"
    return SolvedTask(
        task=first.task if alone else ALL,
        metric=first.metric if alone else "of each task its own",
        filter=first.filter if alone else "of each task its own",
        shots=first.shots,
        chat_template=any(each.chat for each in parts),
        sampling=first.sampling,
        baseline=_solving(found, "baseline", taken),
        candidate=_solving(found, "candidate", taken),
        ratio=_solving(found, "ratio", taken),
        lengths={who: _lengths(parts, who, taken) for who in WHO},
        items=_items(first, taken) if alone else [],
        claims=few if counted < LEAST_ITEMS else None,
    )


def _groups(graded: Graded, taken: _Windows) -> list[Group]:
    """Those whose windows are all valid."""
    places: dict[int, list[int]] = {}
    for place, group in enumerate(graded.groups):
        if group not in taken.spoiled:
            places.setdefault(group, []).append(place)
    found = []
    for group, mine in places.items():
        tokens, right = (
            tuple(sum(of(who, place) for place in mine) for who in WHO)
            for of in (lambda who, i: graded.replies[who][i].tokens, graded.value)
        )
        energy = [taken.energy_j(group, who) for who in WHO]
        known = None if None in energy else (energy[0], energy[1])
        found.append(Group(len(mine), known, tokens, right))  # type: ignore[arg-type]
    return found


def _solving(found: Split | None, side: str, taken: _Windows) -> Solving:
    intervals: Mapping[Factor, Interval] = getattr(found, side) if found else {}
    return Solving(**{name: _quantity(name, intervals.get(name), side, taken) for name in FACTORS})


def _quantity(name: Factor, found: Interval | None, side: str, taken: _Windows) -> Quantity:
    unit = "ratio" if side == "ratio" else UNITS[name]
    if found is None:
        none = taken.no_energy if taken.provenance == "unavailable" else "every group is invalid"
        return missing(unit, none)
    source = taken.provenance if name in JOULES else "measured:score"
    if name == TOKENS_PER_ANSWER.ratio:
        source = "measured:count"
    low, high = (
        end if end is not None and _finite(end) else None for end in (found.low, found.high)
    )
    if _finite(found.value):
        reason = found.reason or (None if found.high == high else "the upper end is unbounded")
        return as_quantity(found._replace(low=low, high=high, reason=reason), unit, source)
    neither = "neither model solved any" if isnan(found.value) else "unbounded: none was solved"
    return Quantity(value=None, unit=unit, provenance=source, n=found.n, low=low, reason=neither)


def _finite(value: float) -> bool:
    return not (isinf(value) or isnan(value))


def _lengths(parts: Sequence[Graded], who: Who, taken: _Windows) -> Lengths:
    pairs = [
        (each.replies[who][place], each.value(who, place))
        for each in parts
        for place in range(len(each.indices))
    ]
    right = [answer.tokens for answer, value in pairs if value == 1]
    wrong = [answer.tokens for answer, value in pairs if value != 1]
    tokens = sum(answer.tokens for answer, _ in pairs)
    thought = [answer.thought_tokens for answer, _ in pairs]
    joules_of = [
        _part(each, who, place, taken) for each in parts for place in range(len(each.indices))
    ]
    return Lengths(
        right=_mean(right, "token", "none was solved"),
        wrong=_mean(wrong, "token", "all were solved"),
        cut=sum(answer.cut for answer, _ in pairs),
        thought=Quantity(
            value=sum(thought) / tokens if tokens else None,
            unit="fraction",
            provenance="measured:count",
            n=len(pairs),
            reason="of these answers, an exact count" if tokens else "no token was made",
        ),
        thought_energy=_thought_energy(pairs, joules_of, taken),
    )


def _thought_energy(
    pairs: Sequence[tuple[Reply, float]], parts: Sequence[float | None], taken: _Windows
) -> Quantity:
    known = [
        part * answer.thought_tokens / answer.tokens
        for (answer, _), part in zip(pairs, parts, strict=True)
        if part is not None and answer.tokens
    ]
    if not known:
        return missing("J/answer", taken.no_energy)
    return as_quantity(mean_interval(known), "J/answer", taken.provenance)


def _mean(values: Sequence[int], unit: str, none: str) -> Quantity:
    if not values:
        return missing(unit, none)
    return as_quantity(mean_interval(values), unit, "measured:count")


def _part(graded: Graded, who: Who, place: int, taken: _Windows) -> float | None:
    """An item's joules: its window's, by tokens."""
    group = graded.groups[place]
    energy_j = taken.energy_j(group, who)
    mine = [i for i, other in enumerate(graded.groups) if other == group]
    tokens = sum(graded.replies[who][i].tokens for i in mine)
    if energy_j is None or not tokens:
        return None
    return energy_j * graded.replies[who][place].tokens / tokens


def _items(graded: Graded, taken: _Windows) -> list[SolvedItem]:
    def reply(who: Who, place: int) -> Reply:
        energy_j = _part(graded, who, place, taken)
        told = None if energy_j is None else round(energy_j, 6)
        return graded.replies[who][place].model_copy(update={"energy_j": told})

    return [
        SolvedItem(
            index=index,
            group=graded.groups[place],
            document=None if graded.documents[place] == str(index) else graded.documents[place],
            baseline=reply("baseline", place),
            candidate=reply("candidate", place),
        )
        for place, index in enumerate(graded.indices)
    ]
