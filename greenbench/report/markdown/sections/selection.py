"""What a report of many runs leaves out."""

from __future__ import annotations

from greenbench.analysis.groups.selection import GROUPS, ROWS, Crowd, Left
from greenbench.report.markdown.format import Column, code, prose, table, titled
from greenbench.wording import TIMES, fixed, number, signed

LISTED = 200  # groups in the table of what is not shown


def notice(crowd: Crowd) -> list[str]:
    """What stands above the answers."""
    total = sum(crowd.counts.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(crowd.counts.items()))
    return [
        f"**{total:,} runs were read ({kinds}), {crowd.shown:,} are shown**: of the {GROUPS} most "
        f"trustworthy groups the A/A run and the best in quality and energy, up to {ROWS} runs each. "
        "Of the others, only what this takes is read and checked. "
        "Verdicts are adjusted (Holm) over all runs of a group; all else on this page, frontiers "
        "and counts too, is about the runs shown. `greenbench export` has every number of every "
        "run, and a report on fewer directories shows more of each.",
        "",
    ]


def left_out(crowd: Crowd) -> list[str]:
    """The groups with runs that are not shown."""
    left = [group for group in crowd.left if group.hidden]
    lines = table(left[:LISTED], COLUMNS)
    more = len(left) - LISTED
    if more > 0:
        count = sum(group.hidden for group in left[LISTED:])
        lines += ["", f"And {more:,} more groups with {count:,} runs."]
    return titled("Runs that are not shown", lines)


def _least(group: Left) -> str:
    best = group.best
    if best is None or best.energy is None:
        return "no energy ratio"
    change = "" if best.change is None else f", {signed(fixed(best.change, 1))} points"
    mark = "" if group.setting.measured else "≈"
    return f"{code(best.label)} {mark}{number(best.energy)}{TIMES}{change}"


COLUMNS: list[Column[Left]] = [
    Column("group", lambda group, _: prose(group.setting.title)),
    Column("tier", lambda group, _: prose(group.setting.tier)),
    Column("joules", lambda group, _: prose(group.setting.meter)),
    Column("runs", lambda group, _: f"{group.runs:,}"),
    Column("not shown", lambda group, _: f"{group.hidden:,}"),
    Column("least J/token ratio of those", lambda group, _: _least(group)),
]
