"""Limits on what may change from one run to another, as ``greenbench compare --fail-on`` takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from greenbench.analysis.choices.change import (
    NO_TARGET,
    NOTHING,
    ONE_EACH,
    UNMEASURED,
    Bar,
    Change,
    Pairing,
    shown,
)
from greenbench.errors import UserError
from greenbench.stats.intervals import Interval

LIMIT = re.compile(r"(energy|solved|target|time|bytes|quality)([<>])([+-]?\d+(?:\.\d+)?)(%?)")
LACKING: Final[Mapping[str, Bar]] = {
    "energy": Bar("not both runs have joules", "run both where a meter counts them"),
    "time": Bar("not both runs have a valid block", "run both again"),
    "solved": Bar(
        "not both runs have graded answers",
        "run both with tasks that are answered in words, such as task=answers",
    ),
    "target": NO_TARGET,
    "bytes": Bar("not both runs know the bytes of their weights", "run both again"),
    "quality": Bar("no item was answered by both runs", "run both on the same items"),
}
"""Why there is no number, by what a limit is about."""


class Limit(NamedTuple):
    """A change that must not be shown: ``energy>+3%``, ``quality<-1``."""

    metric: str
    sign: int
    size: float
    text: str


def parse_limit(text: str) -> Limit:
    """Raises UserError for what is no limit."""
    match = LIMIT.fullmatch(text.replace(" ", ""))
    if match is None or (match[1] == "quality") == bool(match[4]):
        raise UserError(
            f"--fail-on {text} is no limit: write energy>+3%, solved>+3%, target>+3%, time>+5%, bytes>+1% "
            "or, in points, quality<-1."
        )
    size = float(match[3])
    if match[1] != "quality":
        size = 1 + size / 100
    return Limit(match[1], 1 if match[2] == ">" else -1, size, text)


class Checked(NamedTuple):
    """What came of the limits: one sentence for each that a run does not keep."""

    broken: Sequence[str] = ()
    """Those that a run is shown to break."""
    unjudged: Sequence[str] = ()
    """Those that no verdict can be made on."""

    @property
    def status(self) -> int:
        """For CI: 1 where a limit is broken, 3 where one cannot be judged, else 0."""
        return 1 if self.broken else 3 if self.unjudged else 0


def checked(found: Sequence[Pairing], limits: Sequence[Limit]) -> Checked:
    """Each limit against each run. Raises UserError where no pair has the number that a limit is about."""
    for limit in limits:
        lacks = [lack for pairing in found if (lack := _lack(_about(pairing, limit)))]
        if lacks and len(lacks) == len(found):
            raise UserError(
                f"--fail-on {limit.text} has nothing to check, as {lacks[0].why}: {lacks[0].remedy}, or "
                "leave it out."
            )
    about = [(pairing, limit, _about(pairing, limit)) for pairing in found for limit in limits]
    return Checked(*(
        [
            f"{pairing.name}: {limit.text} {said}."
            for pairing, limit, change in about
            if (said := say(change, limit))
        ]
        for say in (_breaks, _open)
    ))  # fmt: skip


def _about(pairing: Pairing, limit: Limit) -> Change:
    """What a limit is about; barred where a pair lacks it."""
    none = Change(limit.metric, None, "inconclusive", NOTHING, LACKING[limit.metric])
    change = next((each for each in pairing.changes if each.metric == limit.metric), none)
    return change if change.found or change.bar or change.verdict == "costs" else none


def _lack(change: Change) -> Bar | None:
    """Why there is no number; null where there is one, or another reason against any verdict."""
    no_number = change.found is None and change.bar in {LACKING[change.metric], UNMEASURED}
    return change.bar if no_number else None


def _open(change: Change, limit: Limit) -> str | None:
    """Why no verdict can be made."""
    if _breaks(change, limit):
        return None
    if change.bar:
        return f"is inconclusive, as {change.bar.why}: {change.bar.remedy}"
    known = change.found
    if known is None and change.verdict == "costs":
        return None
    if known is None or known.low is None or known.high is None:
        return f"is inconclusive ({change.why}): run both on more blocks, or on the same items"
    if change.allowed and _is_beyond(known, limit):
        return f"is inconclusive: {shown(change)} is {ONE_EACH}"
    return None


def _breaks(change: Change, limit: Limit) -> str | None:
    known = change.found
    if known is None and change.verdict == "costs":
        return f"is broken: {change.why}" if limit.sign > 0 else None
    if change.least is not None and limit.sign > 0 and change.least > limit.size:
        return f"is broken: {shown(change)}, {change.why}"
    if change.bar or change.sure is None or not _is_beyond(change.sure, limit):
        return None
    return f"is broken: {shown(change)}"


def _is_beyond(found: Interval, limit: Limit) -> bool:
    """Whether the whole interval is."""
    if found.low is None or found.high is None:
        return False
    return found.low > limit.size if limit.sign > 0 else found.high < limit.size
