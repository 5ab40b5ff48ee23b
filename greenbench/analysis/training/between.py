"""Joules to the target of two runs that trained, each to its own baseline: what changed between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from greenbench.analysis.training.curves import Pair, sound
from greenbench.schema.metrics import ENERGY_TO_TARGET
from greenbench.schema.quantity import named
from greenbench.schema.record import Record
from greenbench.schema.training.record import Course
from greenbench.schema.window import WHO
from greenbench.stats.intervals import Interval, unpaired_ratio
from greenbench.stats.sessions import allowing

UNKNOWN: Final = "a run has no joules to the target"


class Between(NamedTuple):
    """From A to B."""

    ratio: Interval | None
    """B's ratio over A's."""
    reached: bool
    """Whether both came to the target with every seed."""
    why: str
    """Why there is no ratio; empty where there is one."""
    least: float | None = None
    """What it is at least, with 95 %, where A always came to the target and B did not."""


def between(a: Record, b: Record) -> Between:
    """Of two records of models that were trained."""
    pairs = [sound(each.windows, each.training.courses if each.training else ()) for each in (a, b)]
    missed = [sum(not pair.candidate.reached for pair in mine) for mine in pairs]
    if any(missed):
        said = (
            f"{name} with {len(mine) - count} of {len(mine)} seeds"
            for name, mine, count in zip("AB", pairs, missed, strict=True)
        )
        why = f"came to the baseline's last loss: {', '.join(said)}"
        return Between(None, False, why, None if missed[0] else _least(*pairs))
    ratios = [named(each.ratios, ENERGY_TO_TARGET.ratio, "ratio") for each in (a, b)]
    if any(each.value is None for each in ratios):
        unknown = next((each.reason for each in ratios if each.value is None), None)
        return Between(None, True, unknown or UNKNOWN)
    return Between(unpaired_ratio(*(list(map(_ratio, mine)) for mine in pairs)), True, "")


def _least(a: Sequence[Pair], b: Sequence[Pair]) -> float | None:
    """The lower end of the interval, as if B had come to the target at its end where it did not, as a
    record's own ratio has it, and with what sessions may differ by; null where that is not known."""
    first, second = ([_ratio(pair) for pair in mine] for mine in (a, b))
    known = all(pair.learnt for pair in (*a, *b)) and min(*first, *second) > 0
    return allowing(unpaired_ratio(first, second)).low if known else None


def is_measured(*records: Record) -> bool:
    """Whether joules to the target are, in all of them."""
    return all(named(r.ratios, ENERGY_TO_TARGET.ratio, "ratio").is_measured for r in records)


def _ratio(pair: Pair) -> float:
    """Of one seed, by joules to the target, or of the whole training where it was not reached; 0: unknown."""
    before, after = (_spent_j(pair.of(who)) for who in WHO)
    return after / before if before else 0.0


def _spent_j(course: Course) -> float:
    return (course.to_target_j if course.reached else course.points[-1].energy_j) or 0.0
