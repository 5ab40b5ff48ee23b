"""From answer windows to what easy, medium and hard questions cost, paired by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from greenbench.analysis.blocks import as_quantity, level, paired
from greenbench.analysis.counts import Counts, total
from greenbench.analysis.readings import joules
from greenbench.analysis.verdicts import judge
from greenbench.schema.codes import Validity
from greenbench.schema.difficulty import Bin, Difficulty, Questions
from greenbench.schema.metrics import (
    ACCURACY,
    ENERGY_PER_ANSWER,
    ENERGY_PER_TOKEN,
    SECONDS_PER_ANSWER,
    Metric,
)
from greenbench.schema.quality import Item, TaskScore
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import mean_interval, ratio_of_sums


class _Cost(NamedTuple):
    metric: Metric
    value: Callable[[Window], float | None]
    energy: bool
    paired: bool = True


def _per(window: Window, count: int) -> float | None:
    counted_j = joules(window)
    return None if counted_j is None else counted_j / count


COSTS: Final = (
    _Cost(ENERGY_PER_ANSWER, lambda w: _per(w, w.iterations), energy=True),
    _Cost(ENERGY_PER_TOKEN, lambda w: _per(w, w.tokens), energy=True, paired=False),
    _Cost(SECONDS_PER_ANSWER, lambda w: sum(w.iteration_s) / w.iterations, energy=False),
)


class _Taken(NamedTuple):
    """The windows of the valid rounds; a round counts whole or not at all, as a block does."""

    windows: Mapping[tuple[Bin, Who, int], Window]
    rounds: Sequence[int]
    of_rounds: int
    """How many there were."""
    provenance: Provenance
    no_energy: str

    def values(self, name: Bin, who: Who, cost: _Cost) -> list[float]:
        """One per round; empty where one is missing."""
        found = [cost.value(self.windows[name, who, number]) for number in self.rounds]
        return [] if None in found else [value for value in found if value is not None]

    def of(self, cost: _Cost) -> Provenance:
        """Where the numbers of `cost` come from."""
        return self.provenance if cost.energy else "measured:clock"

    def ratios(self, name: Bin, cost: _Cost) -> list[float]:
        """Candidate over baseline, one per round; empty where one cannot be told."""
        before, after = (self.values(name, who, cost) for who in WHO)
        if len(before) != len(after) or min([*before, *after], default=0) <= 0:
            return []
        return [mine / its for its, mine in zip(before, after, strict=True)]


def summarise(
    asked: Asked, windows: Sequence[Window], tier: str, validity: Validity, no_energy: str
) -> Difficulty:
    """What the answer windows among `windows` show; `no_energy` says why there are no joules."""
    if asked.reason:
        return Difficulty(reason=asked.reason, new_tokens=NEW_TOKENS)
    taken = _taken(windows, no_energy)
    return Difficulty(
        new_tokens=NEW_TOKENS,
        bins=[_bin(name, asked, taken) for name in BINS],
        **_rounds(taken, tier, validity),
    )


def summarised_again(
    stated: Difficulty,
    quality: Sequence[TaskScore],
    windows: Sequence[Window],
    tier: str,
    validity: Validity,
    no_energy: str,
) -> Difficulty:
    """`stated` with all of its numbers that follow from windows, and from the items of `quality`, anew."""
    if stated.reason:
        return stated
    taken, questions = _taken(windows, no_energy), thirds(quality)
    again = {
        "bins": [
            each.model_copy(update=_costs(each.bin, questions, taken)) for each in stated.bins
        ],
        **_rounds(taken, tier, validity),
    }
    return stated.model_copy(update=again)


def _rounds(taken: _Taken, tier: str, validity: Validity) -> dict[str, Any]:
    """By field of `Difficulty`, what all thirds show together."""
    sides = {
        cost.metric.ratio: (cost, taken.ratios("hard", cost), taken.ratios("easy", cost))
        for cost in COSTS
        if cost.paired
    }
    return {
        "rounds": len(taken.rounds),
        "of_rounds": taken.of_rounds,
        "codes": sorted({code for window in taken.windows.values() for code in window.codes}),
        "easy_over_hard": {
            name: paired(hard, easy, taken.of(cost), taken.no_energy)
            for name, (cost, hard, easy) in sides.items()
        },
        "verdicts": {
            name: judge(name, hard, easy, provenance=taken.of(cost), tier=tier, validity=validity)
            for name, (cost, hard, easy) in sides.items()
            if taken.of(cost) != "unavailable" and len(hard) == len(easy)
        },
    }


def _taken(windows: Sequence[Window], no_energy: str) -> _Taken:
    mine = [w for w in windows if w.phase == "answer"]
    rounds = {w.place.unit for w in mine if w.place}
    spoiled = {w.place.unit for w in mine if w.place and w.validity == "invalid"}
    cells = {
        (w.place.bin, w.who, w.place.unit): w
        for w in mine
        if w.place and w.place.bin and w.who in WHO
    }
    provenance: Provenance = next((w.energy[0].provenance for w in mine if w.energy), "unavailable")
    return _Taken(cells, sorted(rounds - spoiled), len(rounds), provenance, no_energy)


def _bin(name: Bin, asked: Asked, taken: _Taken) -> Questions:
    questions = asked.questions[name]
    shown = asked.observed[name]
    once = shown[: len(questions)]
    return Questions(
        bin=name,
        items=len(questions),
        asked=len(once),
        prompt_tokens=asked.prompt_tokens[name],
        **_costs(name, asked.questions, taken),
        mean_depth=_mean(once, _depth, "block", "no technique here exits early"),
        accepted_per_pass=_mean(once, _accepted, "token/pass", "no technique here drafts tokens"),
        observed=total(shown),
    )


def _costs(name: Bin, questions: Mapping[Bin, Sequence[Question]], taken: _Taken) -> dict[str, Any]:
    """By field of `Questions`, what follows from the windows and the items."""
    mine = questions[name]
    return {
        "margins": _margins(mine),
        "baseline": _levels(name, "baseline", mine, taken),
        "candidate": _levels(name, "candidate", mine, taken),
        "ratios": {
            cost.metric.ratio: paired(
                taken.values(name, "baseline", cost),
                taken.values(name, "candidate", cost),
                taken.of(cost),
                taken.no_energy,
            )
            for cost in COSTS
            if cost.paired
        },
    }


def _levels(
    name: Bin, who: Who, questions: Sequence[Question], taken: _Taken
) -> dict[str, Quantity]:
    right = [getattr(question.item, who) for question in questions]
    accuracy = ratio_of_sums(right, [1.0] * len(right))
    costs = {
        cost.metric.name: level(
            taken.values(name, who, cost), cost.metric.unit, taken.of(cost), taken.no_energy
        )
        for cost in COSTS
    }
    return {ACCURACY.name: as_quantity(accuracy, ACCURACY.unit, "measured:score"), **costs}


def _margins(questions: Sequence[Question]) -> list[Quantity]:
    """The mean in each unit."""
    by_unit: dict[str, list[float]] = {}
    for question in questions:
        by_unit.setdefault(question.unit, []).append(question.margin)
    return [
        as_quantity(mean_interval(values), unit, "measured:score")
        for unit, values in sorted(by_unit.items())
    ]


def _mean(
    shown: Sequence[Mapping[str, Counts]],
    value: Callable[[Counts], float | None],
    unit: str,
    without: str,
) -> Quantity:
    """Over questions, of what the first technique that has such counts shows."""
    found = [
        next((x for c in each.values() if (x := value(c)) is not None), None) for each in shown
    ]
    known = [x for x in found if x is not None]
    if not known:
        return missing(unit, without)
    return as_quantity(mean_interval(known), unit, "measured:count")


def _depth(counts: Counts) -> float | None:
    """Blocks a token, by what early exits count."""
    by_depth = counts.get("tokens_by_depth", {})
    tokens = sum(by_depth.values())
    return sum(int(depth) * n for depth, n in by_depth.items()) / tokens if tokens else None


def _accepted(counts: Counts) -> float | None:
    """Drafts kept a pass of the whole model, by what drafting techniques count."""
    passes = counts.get("rounds", 0) + counts.get("plain_passes", 0)
    return counts["accepted"] / passes if passes and "accepted" in counts else None


BINS: Final[tuple[Bin, ...]] = get_args(Bin)


NEW_TOKENS: Final = 16


class Question(NamedTuple):
    """An item with choices, and the baseline's margin between the best two."""

    score: TaskScore
    item: Item
    margin: float

    @property
    def key(self) -> tuple[str, int]:
        """Task, and place in its split."""
        return self.score.task, self.item.index

    @property
    def unit(self) -> str:
        """Of its margin."""
        return "nat/character" if self.score.metric == "acc_norm" else "nat"


class Asked(NamedTuple):
    """What was asked, and what the techniques counted meanwhile."""

    reason: str | None = None
    """Why nothing was."""
    questions: Mapping[Bin, Sequence[Question]] = {}
    prompt_tokens: Mapping[Bin, float] = {}
    """Mean over the questions."""
    answers: Mapping[Bin, int] = {}
    """In each window."""
    observed: Mapping[Bin, Sequence[Mapping[str, Counts]]] = {}
    """By technique, for each answer of the candidate: the questions in order, again and again."""


def thirds(quality: Sequence[TaskScore]) -> dict[Bin, list[Question]]:
    """Items with a margin, in thirds by its rank within their task: the widest are the easy ones.

    Ties are ranked by index. Where a task's items do not divide by 3, the outer thirds stay equal.
    """
    found: dict[Bin, list[Question]] = {name: [] for name in BINS}
    for score in sorted(quality, key=lambda score: score.task):
        known = [
            Question(score, item, item.margin) for item in score.items if item.margin is not None
        ]
        known.sort(key=lambda question: (-question.margin, question.item.index))
        for rank, question in enumerate(known):
            found[BINS[(6 * rank + 3) // (2 * len(known))]].append(question)
    return found
