"""Very many runs: all are read and counted, and the best of each group are shown.

A record with its raw readings takes most of a megabyte of memory, and a table of a thousand lines
has no readers. So a first pass takes of each record what choosing needs, from the cache where it has been
read before, and a second reads in whole those that were chosen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.analysis.groups.comparable import Setting, rank
from greenbench.analysis.groups.quick_read import Brief
from greenbench.analysis.groups.rows import Beside
from greenbench.analysis.trust.checked import load, look, shortened
from greenbench.analysis.trust.many import each
from greenbench.records.folders import files
from greenbench.records.store import COPY, Rejected
from greenbench.schema.record import Record

FULL = 500
"""Up to so many files, every run is shown."""
GROUPS, ROWS = 12, 25
"""Else so many groups, and runs in each."""
WITHOUT_RESULT = 50
"""Invalid and failed runs, of each kind."""


class Left(NamedTuple):
    """A group with runs that are not shown."""

    setting: Setting
    runs: int
    hidden: int
    best: Brief | None
    """Of those not shown, the one with the least energy."""


class Crowd(NamedTuple):
    """What a report on some of the runs says about all."""

    counts: Counter[str]
    """All runs by kind."""
    shown: int
    left: list[Left]
    beside: Beside


class Gathered(NamedTuple):
    """The records to show, the files that are none, and the crowd, if not every run is shown."""

    records: list[Record]
    rejected: list[Rejected]
    crowd: Crowd | None


def gather(paths: Sequence[Path]) -> Gathered:
    """The records of `paths`, all or, of very many, the chosen ones."""
    found = files(paths)
    if len(found) <= FULL:
        return Gathered(*load(paths), None)
    briefs, rejected = _scan(found)
    completed = sorted((b for b in briefs if b.kind == "completed"), key=_place)
    by_group: defaultdict[Setting, list[Brief]] = defaultdict(list)
    for brief in completed:
        by_group[brief.setting].append(brief)
    chosen = {key: _best(by_group[key]) for key in sorted(by_group, key=rank)[:GROUPS]}
    shown = [brief for some in chosen.values() for brief in some]
    shown += [brief for kind in ("invalid", "failed", "unsupported")
              for brief in _first(briefs, kind)]  # fmt: skip
    left = [_left(key, by_group[key], chosen.get(key, [])) for key in sorted(by_group, key=rank)]
    beside = {key: _p_values(by_group[key], some) for key, some in chosen.items()}
    records, broken = load([brief.path for brief in shown])
    gone = {file.name for file in broken}
    counts = Counter(brief.kind for brief in briefs if brief.path.name not in gone)
    crowd = Crowd(counts, len(records), left, beside)
    return Gathered(records, sorted([*rejected, *broken]), crowd)


def _scan(found: Sequence[Path]) -> tuple[list[Brief], list[Rejected]]:
    """A brief of each record, as many at a time in memory as there are CPUs."""
    seen: defaultdict[tuple[str, str, str], list[Path]] = defaultdict(list)
    briefs: list[Brief] = []
    rejected: list[Rejected] = []
    for file, short in zip(found, each(shortened, found), strict=True):
        if isinstance(short, Rejected):
            rejected.append(short)
            continue
        alike = seen[short.identity]
        if alike and look(file) in map(look, alike):
            rejected.append(Rejected(file.name, COPY))
        else:
            alike.append(file)
            briefs.append(short)
    return briefs, rejected


def _place(brief: Brief) -> tuple[str, ...]:
    return (*brief.setting, *brief.identity)


def _best(briefs: Sequence[Brief]) -> list[Brief]:
    """An A/A run, then the frontier's, then by energy."""
    first = next((brief for brief in briefs if brief.label == "none"), None)
    points = [_point(brief) for brief in briefs]
    members = on_frontier(points)
    order = sorted(
        range(len(briefs)),
        key=lambda i: (briefs[i] is not first, not members[i], points[i].cost, i),
    )
    return [briefs[i] for i in order[:ROWS]]


def _point(brief: Brief) -> Point:
    if brief.change is None or brief.energy is None:
        return Point(float("-inf"), float("inf"))
    return Point(brief.change, brief.energy)


def _first(briefs: Sequence[Brief], kind: str) -> list[Brief]:
    return sorted((brief for brief in briefs if brief.kind == kind), key=_place)[:WITHOUT_RESULT]


def _left(key: Setting, briefs: Sequence[Brief], chosen: Sequence[Brief]) -> Left:
    shown = {brief.path for brief in chosen}
    hidden = [brief for brief in briefs if brief.path not in shown]
    known = [brief for brief in hidden if brief.energy is not None]
    best = min(known, key=lambda brief: (brief.energy, _place(brief)), default=None)
    return Left(key, len(briefs), len(hidden), best)


def _p_values(briefs: Sequence[Brief], chosen: Sequence[Brief]) -> dict[str, list[float]]:
    """Of the runs that are not shown, by metric."""
    shown = {brief.path for brief in chosen}
    found: defaultdict[str, list[float]] = defaultdict(list)
    for brief in briefs:
        if brief.path not in shown:
            for metric, p_value in brief.tests:
                found[metric].append(p_value)
    return dict(found)
