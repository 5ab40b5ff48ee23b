"""Joules to the target of two runs that trained, each to its own baseline: what changed between them."""

from __future__ import annotations

from typing import Final, NamedTuple

from greenbench.analysis.training.curves import Pair, sound
from greenbench.schema.metrics import ENERGY_TO_TARGET
from greenbench.schema.quantity import named
from greenbench.schema.record import Record
from greenbench.schema.window import WHO
from greenbench.stats.intervals import Interval, unpaired_ratio

UNKNOWN: Final = "a run has no joules to the target"


class Between(NamedTuple):
    """From A to B."""

    ratio: Interval | None
    """B's ratio over A's."""
    reached: bool
    """Whether both came to the target with every seed."""
    why: str
    """Why there is no ratio; empty where there is one."""


def between(a: Record, b: Record) -> Between:
    """Of two records of models that were trained."""
    pairs = [sound(each.windows, each.training.courses if each.training else ()) for each in (a, b)]
    missed = [sum(not pair.candidate.reached for pair in mine) for mine in pairs]
    if any(missed):
        said = (
            f"{name} with {len(mine) - count} of {len(mine)} seeds"
            for name, mine, count in zip("AB", pairs, missed, strict=True)
        )
        return Between(None, False, f"came to the baseline's last loss: {', '.join(said)}")
    ratios = [named(each.ratios, ENERGY_TO_TARGET.ratio, "ratio") for each in (a, b)]
    if any(each.value is None for each in ratios):
        why = next((each.reason for each in ratios if each.value is None), None)
        return Between(None, True, why or UNKNOWN)
    return Between(unpaired_ratio(*(list(map(_ratio, mine)) for mine in pairs)), True, "")


def is_measured(*records: Record) -> bool:
    """Whether joules to the target are, in all of them."""
    return all(named(r.ratios, ENERGY_TO_TARGET.ratio, "ratio").is_measured for r in records)


def _ratio(pair: Pair) -> float:
    """Of one seed: both came to the target, and took joules to it."""
    before, after = (pair.of(who).to_target_j or 0.0 for who in WHO)
    return after / before
