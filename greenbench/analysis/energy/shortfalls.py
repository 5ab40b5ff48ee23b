"""What became of a promise: where it was not kept, the causes that a profile or the record itself shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from greenbench.analysis.energy.causes import Split
from greenbench.analysis.energy.lost_time import split
from greenbench.analysis.energy.promises import claim, promised_ratio, realised
from greenbench.analysis.energy.symptoms import EFFECT, SYMPTOMS, Evidence, exits
from greenbench.analysis.groups.rows import Row
from greenbench.schema.record import Findings

KEPT = 0.8  # of the promised saving: more than this asks for no cause
UNKNOWN: Final = "cause not known"


class Outcome(NamedTuple):
    """What became of a promise: a word for it, or the causes that kept it from coming true."""

    word: str
    causes: Sequence[tuple[str, Evidence]] = ()
    """By name."""
    split: Split | None = None
    """Of the lost time; null where no profile shows it."""


def word(found: Findings) -> str | None:
    """What became of the promise, empty where there was none; null: it was not kept, and asks for causes."""
    ratio = realised(found)
    drafts = any(part.promise.drafts for part in found.techniques)
    promise = promised_ratio(found) or 1.0
    saves = promise < 1 - EFFECT
    if ratio.value is None or not (saves or drafts or exits(found)):
        return ""
    interval = ratio.bounds
    if saves and interval and interval[0] <= promise and interval[1] >= 1:
        return "too uncertain: the interval holds the promise, and 1"
    if saves and 1 - ratio.value >= KEPT * (1 - promise):
        return "kept"
    if not saves and ratio.value < 1 - EFFECT:
        return "saves"
    if saves and interval and interval[0] <= promise:
        return "not told apart from the promise"
    return None


def outcome(row: Row) -> Outcome:
    """What keeps the run from what it promised; no word where it promised nothing."""
    said = word(row.record)
    if said is not None:
        return Outcome(said)
    shown = split(row.record.profile, claim(row.record)) if row.record.profile else None
    proven = shown if shown and shown.reason is None else None
    causes = [
        (symptom.name, Evidence(found) if isinstance(found, str) else found)
        for symptom in SYMPTOMS
        if not (proven and symptom.guessed) and (found := symptom.evidence(row))
    ]
    return Outcome("" if causes or proven else UNKNOWN, causes, proven)
