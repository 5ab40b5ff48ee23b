"""Techniques over all settings in which they were measured: where each pays, and where it does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from greenbench.analysis.groups.comparable import told_apart
from greenbench.analysis.groups.rows import Group, Row, technique
from greenbench.schema.metrics import Metric

SPELT = re.compile(r"[^A-Za-z0-9_]+")
"""What a file's name has a dash for."""


class Place(NamedTuple):
    """A technique in one setting."""

    group: Group
    row: Row
    where: str
    """What tells the setting from the technique's others."""


class Everywhere(NamedTuple):
    """One technique, with its knobs, in two settings or more."""

    label: str
    stem: str
    """Of its files."""
    places: list[Place]
    shared: str
    """What all of its settings have in common; empty: nothing."""

    def verdicts(self, metric: Metric) -> dict[str, int]:
        """In how many settings each verdict on `metric` was given; one that is barred is ``no claim``."""
        found: dict[str, int] = {}
        for place in self.places:
            verdict = place.row.verdicts.get(metric.ratio)
            said = "no claim" if verdict is None or verdict.barred else verdict.verdict
            found[said] = found.get(said, 0) + 1
        return found


def by_technique(groups: Sequence[Group]) -> list[Everywhere]:
    """Those that are in several of `groups`, by label."""
    found: dict[str, list[tuple[Group, Row]]] = {}
    for group in groups:
        for row in group.rows:
            found.setdefault(technique(row.record), []).append((group, row))
    several = sorted(
        label for label, each in found.items() if len({id(group) for group, _ in each}) > 1
    )
    stems = _stems(several)
    return [_everywhere(label, stems[label], found[label]) for label in several]


def _everywhere(label: str, stem: str, found: Sequence[tuple[Group, Row]]) -> Everywhere:
    shared, own = told_apart([group.setting for group, _ in found])
    places = [
        Place(group, row, where if row.label == label else f"{where}, {row.label}")
        for (group, row), where in zip(found, own, strict=True)
    ]
    return Everywhere(label, stem, places, ", ".join(shared))


def _stems(labels: Sequence[str]) -> dict[str, str]:
    """Names of files, no two alike wherever capitals are not told apart."""
    stems: dict[str, str] = {}
    for label in labels:
        stem = SPELT.sub("-", label)[:60].strip("-") or "technique"
        taken = {each.lower() for each in stems.values()}
        tries = (f"{stem}-{number}" if number > 1 else stem for number in range(1, len(labels) + 2))
        stems[label] = next(each for each in tries if each.lower() not in taken)
    return stems
