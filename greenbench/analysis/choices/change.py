"""One metric from A to B, and what may be said of it: by several sessions, or by one and what these may
differ by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from greenbench.schema.verdict import Word
from greenbench.stats.intervals import MARGIN, Interval
from greenbench.stats.sessions import ALLOWED
from greenbench.wording import TIMES, fixed, signed

NOTHING: Final = "not in both"
ONE_EACH: Final = (
    f"of one session each, and sessions that differ by {100 * ALLOWED:g} % are not excluded: sessions=3 "
    "measures by how much they do"
)


class Bar(NamedTuple):
    """Why there may be no verdict, and what to do about it."""

    why: str
    remedy: str


INVALID: Final = Bar("a run is invalid", "run it again")
UNMEASURED: Final = Bar("joules are not measured", "limit time, or run where a meter counts joules")
SMOKE: Final = Bar("tier smoke makes no claims", "run both with protocol=dev or protocol=publish")
APART: Final = Bar("the two runs differ in their setting", "compare two runs of one setting")
FEW: Final = Bar("too few items were graded", "run both with more of them (task.items)")
UNREACHED: Final = Bar(
    "a run did not come to its baseline's last loss with every seed",
    "give it more tokens (training.longer)",
)
NO_TARGET: Final = Bar("a run has no joules to a target", "run both again")
UNBOUNDED: Final = Bar(
    "a run's joules per solved problem are unbounded or lack an interval", FEW.remedy
)


class Change(NamedTuple):
    """One metric from A to B: a ratio below 1 is a saving; quality is a difference in points."""

    metric: str
    found: Interval | None
    """Of one session each, that of these two."""
    verdict: Word
    why: str
    bar: Bar | None = None
    """Set where no verdict may be made."""
    least: float | None = None
    """What the ratio is at least, with 95 %, where no more is known of it."""
    allowed: Interval | None = None
    """Of one session each: with what sessions may differ by. Verdicts and limits go by it."""

    @property
    def sure(self) -> Interval | None:
        """What verdicts and limits go by."""
        return self.allowed or self.found


class Pairing(NamedTuple):
    """The same technique in A and in B."""

    name: str
    changes: list[Change]
    differs: list[str]
    """In what the settings differ, each as ``device: A's, not B's``: there is no verdict then."""


def judged(
    metric: str, found: Interval | None, bar: Bar | None, allowed: Interval | None = None
) -> Change:
    """A ratio with its verdict, which is of `allowed` where that is given."""
    if bar:
        return Change(metric, found, "inconclusive", bar.why, bar)
    if found is None or found.low is None or found.high is None:
        return Change(metric, found, "inconclusive", NOTHING if found is None else "one block")
    sure = allowed or found
    word, why = _word(sure)
    if word == "inconclusive" and _word(found)[0] != "inconclusive":
        why = ONE_EACH
    return Change(metric, found, word, why, allowed=allowed)


def _word(found: Interval) -> tuple[Word, str]:
    if found.low is None or found.high is None:
        return "inconclusive", "too uncertain"
    apart = found.high < 1 or found.low > 1
    if apart and abs(found.value - 1) > MARGIN:
        return "saves" if found.value < 1 else "costs", "the interval is clear of 1"
    if found.low >= 1 / (1 + MARGIN) and found.high <= 1 + MARGIN:
        return "equivalent", f"within {100 * MARGIN:g} %"
    return "inconclusive", "too uncertain"


def shown(change: Change) -> str:
    """What changed, with its interval."""
    known = change.found
    if known is None:
        return "n/a" if change.least is None else f"at least {fixed(change.least, 3)}{TIMES}"
    points = change.metric == "quality"
    places, suffix = (1, " points") if points else (3, TIMES)
    sign: Callable[[str], str] = signed if points else str
    value = f"{sign(fixed(known.value, places))}{suffix}"
    if known.low is None or known.high is None:
        return value
    return f"{value} ({sign(fixed(known.low, places))} to {sign(fixed(known.high, places))})"
