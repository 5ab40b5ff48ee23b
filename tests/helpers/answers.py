"""Answer windows whose numbers follow from each other, for tests of energy by difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greenbench.analysis.difficulty import BINS, Asked, summarise, thirds
from greenbench.schema.difficulty import Bin, Difficulty
from greenbench.schema.quality import Item, TaskScore
from greenbench.schema.quantity import Provenance
from greenbench.schema.window import Place, Span, Who, Window
from helpers import factory

FACTORS: dict[Bin, float] = {"easy": 0.6, "medium": 0.7, "hard": 0.75}
"""The candidate's joules and seconds over the baseline's."""
EXITS = {"early_exit": {"tokens": 30, "tokens_by_depth": {"15": 10, "30": 20}}}
DRAFTS = {"prompt_lookup": {"rounds": 3, "plain_passes": 5, "accepted": 8}}


def score(task: str, margins: Sequence[float | None], metric: str = "acc") -> TaskScore:
    """A task with items of these margins; the baseline gets every second one right, the candidate none."""
    items = [
        Item(index=i, baseline=float(i % 2), candidate=0.0, margin=margin)
        for i, margin in enumerate(margins)
    ]
    return factory.quality().model_copy(update={"task": task, "metric": metric, "items": items})


def answer(
    who: Who,
    name: Bin,
    number: int,
    energy_j: float,
    seconds: float = 1.0,
    source: Provenance = "measured:counter:nvml",
    *,
    valid: bool = True,
) -> Window:
    """Two answers of 16 tokens."""
    return Window(
        phase="answer",
        who=who,
        place=Place(series="round", unit=number, position=0, bin=name),
        start_s=0,
        end_s=2 * seconds,
        iterations=2,
        tokens=32,
        prompt_tokens=40,
        iteration_s=[seconds, seconds],
        validity="valid" if valid else "invalid",
        codes=[] if valid else ["throttled"],
        energy=[
            Span(
                meter="nvml",
                boundary="gpu",
                provenance=source,
                tick_s=0.1,
                start_s=0,
                start_j=3,
                end_s=2 * seconds,
                end_j=3 + energy_j,
            )
        ],
    )


def campaign(
    rounds: int = 6,
    factors: Mapping[Bin, float] = FACTORS,
    source: Provenance = "measured:counter:nvml",
) -> list[Window]:
    """Rounds that drift; the candidate takes exactly `factors` of the baseline's joules and seconds."""
    return [
        answer(who, name, n, 64 * (1 + n / 3) * scale, (1 + n / 3) * scale, source)
        for n in range(rounds)
        for name in BINS
        for who, scale in (("baseline", 1.0), ("candidate", factors[name]))
    ]


def asked(counts: Mapping[str, Mapping[str, object]] = DRAFTS) -> Asked:
    """As the stage leaves it: two items a third, each asked more than once."""
    return Asked(
        questions=thirds([score("a", [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])]),
        prompt_tokens=dict.fromkeys(BINS, 20.0),
        answers=dict.fromkeys(BINS, 2),
        observed={name: [counts] * 12 for name in BINS},
    )


def difficulty(
    windows: Sequence[Window],
    tier: str = "dev",
    counts: Mapping[str, Mapping[str, object]] = DRAFTS,
) -> Difficulty:
    """What a record keeps of such windows."""
    return summarise(asked(counts), windows, tier, "valid", "no sun")
