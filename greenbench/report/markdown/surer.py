"""What would make the answer surer: steps, each with the command for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from greenbench.analysis.choices.advice import with_changes
from greenbench.analysis.choices.picks import Choice, choice, is_claimed, surely_within
from greenbench.analysis.groups.rows import Group, Row
from greenbench.records.calls import NO_CALL
from greenbench.report.markdown.format import code, prose, run_name
from greenbench.report.markdown.headline import model_bounds, no_joules, were_counted
from greenbench.schema.codes import meaning

STEPS: Final = 4
"""Of all settings together, on the first screen."""
HALF: Final = 1.0
"""Points of quality that an interval would leave open on either side once it is called sure."""


def numbered(steps: Sequence[str]) -> list[str]:
    """The steps under their heading; nothing where there are none."""
    lines = [f"{i}. {step}" for i, step in enumerate(steps, start=1)]
    return ["To be surer:", "", *lines, ""] if lines else []


def surer(group: Group) -> list[str]:
    """What is not known for sure, each with what would show it."""
    found = choice(group)
    named = [(pick.losses[0], pick.row) for pick in found.picks if pick.losses[0] is not None]
    within = [row for loss, row in named if loss <= 1]  # as the answer in words has it
    steps = _joules(group)
    for leader in within[-1:] or [row for _, row in named[:1]]:
        steps += [*_disturbed(leader), *_tier(leader, found), *_items(leader)]
    return steps


def surer_of_all(groups: Sequence[Group]) -> list[str]:
    """The first steps of several groups, what they share once."""
    return list(dict.fromkeys(step for group in groups for step in surer(group)))[:STEPS]


def _joules(group: Group) -> list[str]:
    if group.setting.measured:
        return []
    what, elsewhere = no_joules(group.rows), "on a machine with RAPL or NVML"
    if group.setting.source != "unavailable":
        bounds = model_bounds(group.rows)
        apart = (
            f": true ones may be {bounds} times as many, and ratios be off too" if bounds else ""
        )
        what = f"Joules are **estimated** from CPU time (≈{apart})"
    elif were_counted(group.rows):
        elsewhere = "for longer"
    return [
        f"{what}, so what is chosen here goes by measured **speed**: run {elsewhere}, or with "
        "`meter=wall meter.wall_log=FILE.csv`."
    ]


def _disturbed(leader: Row) -> list[str]:
    if not leader.flagged:
        return []
    why = "; ".join(prose(meaning(each)) for each in leader.record.codes) or "no code says what"
    again = _changed(leader, force="true")
    said = f"{again} runs it again" if again else "run it again"
    return [f"Something disturbed {run_name(leader)} ({why}): {said}."]


def _changed(leader: Row, **changes: str) -> str | None:
    """Its command with these changes; null where it has none that may be shown."""
    command = with_changes(leader.record.command, changes)
    return None if command == NO_CALL else code(command, 400)


def _tier(leader: Row, found: Choice) -> list[str]:
    if is_claimed(leader, found.yardstick) or leader.record.spec.protocol.tier != "smoke":
        return []
    longer = _changed(leader, protocol="dev") or "`protocol=dev`"
    return [f"Windows here are short (tier smoke). For {run_name(leader)} in earnest: {longer}"]


def _items(leader: Row) -> list[str]:
    """How many items would tell a loss of a point from none, by the interval's width now."""
    interval, n = leader.change.bounds, leader.change.n
    if interval is None or not n or surely_within(leader, HALF):
        return []
    half = (interval[1] - interval[0]) / 2
    needed = math.ceil(n * (half / HALF) ** 2 / 100) * 100
    tasks = sum(score.is_accuracy for score in leader.record.quality)
    items = {"task.items": f"{math.ceil(needed / tasks)}"}
    more = _changed(leader, **items) or f"`task.items={items['task.items']}`"
    return [
        f"Quality was compared on {n} questions, which leaves ±{half:.1f} points open; about {needed:,} "
        f"would leave ±{HALF:g}: {more} asks as many of each task, or all that it has."
    ]
