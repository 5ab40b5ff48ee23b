"""What right answers cost: joules per solved item and its factors, from graded answers and their windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf, isnan
from typing import Final, Literal, NamedTuple

from greenbench.analysis.blocks import as_quantity
from greenbench.analysis.graded.replies import Graded, Windows, lengths, part
from greenbench.analysis.verdicts import judge_found
from greenbench.schema.codes import Validity
from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    SHARE_SOLVED,
    TOKENS_PER_ANSWER,
)
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.solved import Reply, SolvedItem, SolvedTask, Solving
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import Interval
from greenbench.stats.solving import (
    FACTORS,
    LEAST_ITEMS,
    NONE_SOLVED,
    WHOLE,
    Factor,
    Group,
    Split,
    shifted,
    split,
)

ALL: Final = ""
"""The name of all tasks together."""
UNITS: Final[Mapping[str, str]] = {
    metric.ratio: metric.unit
    for metric in (ENERGY_PER_TOKEN, TOKENS_PER_ANSWER, SHARE_SOLVED, ENERGY_PER_SOLVED)
}
JOULES: Final = (ENERGY_PER_TOKEN.ratio, ENERGY_PER_SOLVED.ratio)


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


def solved(
    graded: Sequence[Graded],
    windows: Sequence[Window],
    tier: str,
    validity: Validity,
    no_energy: str,
    *,
    in_turn: bool = False,
) -> Solved:
    """Tables and verdict; `no_energy` says why there are no joules. Of models `in_turn` the ratios of joules
    also doubt what each loading shifts.

    Groups with an invalid window are left out whole. Tasks whose metric is no share of items have no factors.
    """
    taken = Windows(windows, no_energy, in_turn=in_turn)
    shares = [each for each in graded if each.is_share]
    tasks = [_task([each], taken) for each in shares]
    if len(shares) > 1:
        tasks.append(_task(shares, taken))
    groups = [group for each in shares for group in _groups(each, taken)]
    found = _split(groups, taken)
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
        lacking=tasks[-1].claims or _lacking(ratio),
    )
    return Solved(tasks, {ENERGY_PER_SOLVED.ratio: verdict})


def _lacking(ratio: Interval) -> str | None:
    """Why nothing is claimed of it; null: it is a number with an interval."""
    if ratio.value == 0 or not _finite(ratio.value):
        return _why_none(WHOLE, ratio.value, "ratio")
    return ratio.reason if ratio.low is None else None


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
    taken = Windows(record.windows, "")
    return [group for each in regraded(record) for group in _groups(each, taken)]


def _task(parts: Sequence[Graded], taken: Windows) -> SolvedTask:
    """One, or several as one."""
    first, alone = parts[0], len(parts) == 1
    groups = [group for each in parts for group in _groups(each, taken)]
    found = _split(groups, taken)
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
        lengths={who: lengths(parts, who, taken) for who in WHO},
        items=_items(first, taken) if alone else [],
        claims=few if counted < LEAST_ITEMS else None,
    )


def _groups(graded: Graded, taken: Windows) -> list[Group]:
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


def _split(groups: Sequence[Group], taken: Windows) -> Split | None:
    """Of the groups, if there are any."""
    found = split(groups) if groups else None
    return shifted(found, taken.shift) if found and taken.shift else found


def _solving(found: Split | None, side: str, taken: Windows) -> Solving:
    intervals: Mapping[Factor, Interval] = getattr(found, side) if found else {}
    return Solving(**{name: _quantity(name, intervals.get(name), side, taken) for name in FACTORS})


def _quantity(name: Factor, found: Interval | None, side: str, taken: Windows) -> Quantity:
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
    nothing = found.value == 0 and name != SHARE_SOLVED.ratio
    if _finite(found.value) and not nothing:
        reason = found.reason or (None if found.high == high else "the upper end is unbounded")
        return as_quantity(found._replace(low=low, high=high, reason=reason), unit, source)
    return Quantity(
        value=None,
        unit=unit,
        provenance=source,
        n=found.n,
        low=None if nothing else low,
        high=high if nothing else None,
        reason=_why_none(name, found.value, side),
    )


def _why_none(name: Factor, value: float, side: str) -> str:
    """Of a ratio or a level that is no number above 0."""
    if name in (ENERGY_PER_TOKEN.ratio, TOKENS_PER_ANSWER.ratio):
        return "the answers of one model, or of both, have no token"
    if isnan(value):
        return "neither model solved any"
    if side != "ratio":
        return NONE_SOLVED
    if value == 0:
        return "0: the baseline solved none"
    return f"unbounded: the {'candidate' if name == WHOLE else 'baseline'} solved none"


def _finite(value: float) -> bool:
    return not (isinf(value) or isnan(value))


def _items(graded: Graded, taken: Windows) -> list[SolvedItem]:
    def reply(who: Who, place: int) -> Reply:
        energy_j = part(graded, who, place, taken)
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
