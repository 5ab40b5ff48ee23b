"""Graded answers with the windows they were made in: their joules, and how long they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from greenbench.analysis.blocks import as_quantity, shift_of, stays
from greenbench.analysis.readings import joules
from greenbench.schema.codes import SHORT, validity
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.solved import Lengths, Reply
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import mean_interval


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


class Windows:
    """The windows of groups, by number and model."""

    def __init__(self, windows: Sequence[Window], no_energy: str, *, in_turn: bool = False) -> None:
        self.no_energy = no_energy
        mine = [w for w in windows if w.phase == "solve" and w.place]
        self.found = {(w.place.unit, w.who): w for w in mine if w.place}
        self.spoiled = {w.place.unit for w in mine if w.place and _is_spoiled(w)}
        self.provenance: Provenance = next(
            (w.energy[0].provenance for w in mine if w.energy), "unavailable"
        )
        per_token = ENERGY_PER_TOKEN.ratio
        self.shift = shift_of(windows, per_token, stays(mine)) if in_turn else None
        """Of models in turn, the error that each loading adds to the logarithm of their joules' ratio."""

    def energy_j(self, group: int, who: Who) -> float | None:
        """Of one group; null without a meter."""
        window = self.found.get((group, who))
        return joules(window) if window else None


def _is_spoiled(window: Window) -> bool:
    """Whether its group is left out. Not for being short alone: that would leave out short answers, and the
    tick's error, which is as often above as below, is in what groups differ by."""
    return validity([code for code in window.codes if code != SHORT]) == "invalid"


def lengths(parts: Sequence[Graded], who: Who, taken: Windows) -> Lengths:
    pairs = [
        (each.replies[who][place], each.value(who, place))
        for each in parts
        for place, group in enumerate(each.groups)
        if group not in taken.spoiled
    ]
    right = [answer.tokens for answer, value in pairs if value == 1]
    wrong = [answer.tokens for answer, value in pairs if value == 0]
    tokens = sum(answer.tokens for answer, _ in pairs)
    thought = [answer.thought_tokens for answer, _ in pairs]
    joules_of = [
        part(each, who, place, taken)
        for each in parts
        for place, group in enumerate(each.groups)
        if group not in taken.spoiled
    ]
    return Lengths(
        right=_mean(right, "token", "none was solved"),
        wrong=_mean(wrong, "token", "all were solved, in part at least"),
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
    pairs: Sequence[tuple[Reply, float]], parts: Sequence[float | None], taken: Windows
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


def part(graded: Graded, who: Who, place: int, taken: Windows) -> float | None:
    """An item's joules: its window's, by tokens."""
    group = graded.groups[place]
    energy_j = taken.energy_j(group, who)
    mine = [i for i, other in enumerate(graded.groups) if other == group]
    tokens = sum(graded.replies[who][i].tokens for i in mine)
    if energy_j is None or not tokens:
        return None
    return energy_j * graded.replies[who][place].tokens / tokens
