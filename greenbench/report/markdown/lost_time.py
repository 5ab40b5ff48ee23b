"""Where the time went that a technique did not save, as a profile of both models shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greenbench.analysis.energy.causes import CAUSES, Cause, Split
from greenbench.analysis.energy.lost_time import REPETITIONS, SHARE
from greenbench.analysis.energy.shortfalls import outcome
from greenbench.analysis.groups.rows import Row
from greenbench.report.markdown.format import code, prose
from greenbench.wording import TO


def shares(split: Split) -> list[str]:
    """Each cause with its share of the lost time, and what is left."""
    said = [f"{cause.name}: {_share(cause)}" for cause in split.causes]
    left = f"{100 * (split.unexplained or 0.0):.0f}"
    return said if left == "0" else [*said, f"not explained: {left} % of the lost time"]


def _share(cause: Cause) -> str:
    bounds = cause.share.bounds
    between = f" ({TO.join(f'{100 * min(each, 1.0):.0f}' for each in bounds)})" if bounds else ""
    return f"{100 * cause.share.value:.0f} %{between} of the lost time"


def told(rows: Iterable[Row]) -> list[str]:
    """What shows each cause and what would, of each row that was profiled; empty where none was."""
    rows = [row for row in rows if row.record.profile]
    lines = [line for row in rows for line in _of_row(row)]
    return [*rules(), *lines, ""] if lines else []


def rules() -> list[str]:
    """When a profile names a cause."""
    return [
        "Where a run was profiled after its last block (`protocol.profile`), causes come from there. Each "
        "kind of time is compared with what it would be had it shrunk as promised, and what is over is the "
        f"lost time. A cause is named whose share of it is above {100 * SHARE:.0f} %, its whole 95 % "
        f"interval over {REPETITIONS} repetitions or more; the rest is not explained. Of answers longer than "
        "those that were profiled, all times are on the line through these and answers of one token:",
        "",
        *(f"- {name}: {cause.evidence}." for name, cause in CAUSES.items()),
        "",
    ]


def _of_row(row: Row) -> list[str]:
    profile, found = row.record.profile, outcome(row)
    if profile is None:
        return []
    if profile.baseline is None:
        return [f"- {code(row.label)}: no profile: {prose(profile.reason or '')}."]
    after = [f"- {code(row.label)}: {prose(profile.reason)}."] if profile.reason else []
    causes: Sequence[Cause] = found.split.causes if found.split else ()
    return [*(f"- {code(row.label)}, {_of_cause(cause)}" for cause in causes), *after]


def _of_cause(cause: Cause) -> str:
    said = f"{cause.name}: {_subject(cause)}{prose(cause.text)}"
    return f"{said}. To see it: {cause.experiment}."


def _subject(cause: Cause) -> str:
    return f"{', '.join(map(code, cause.operators))}: " if cause.operators else ""
