"""What techniques count while they work, such as drafts kept: told apart by window, and summed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Counts = dict[str, Any]
"""What one technique counted: whole numbers, and mappings of them."""


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> Counts:
    """What the counts in `after` have more than in `before`; all that is no whole number is left out."""
    found: Counts = {}
    for name, value in after.items():
        if isinstance(value, dict):
            found[name] = added(before.get(name, {}), value)
        elif isinstance(value, int):
            found[name] = value - before.get(name, 0)
    return found


def total(counts: Iterable[Mapping[str, Any]]) -> Counts:
    """The sum of what several windows added."""
    found: Counts = {}
    for each in counts:
        for name, value in each.items():
            if isinstance(value, dict):
                found[name] = total([found.get(name, {}), value])
            else:
                found[name] = found.get(name, 0) + value
    return found
