"""The command ``watch``: where numbers stepped from one night to another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from greenbench.cli.read import analysed, loaded
from greenbench.cli.terminal import say
from greenbench.errors import UserError
from greenbench.wording import fixed, plain

if TYPE_CHECKING:
    from greenbench.analysis.choices.history import Changed, Found, Watched

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
ALARMS_PER_100: Final = 1.0
NAMED: Final = 8
"""Changed versions that one line names."""

WATCH_HELP = """\
Look through the records of many nights for steps of more than 2 % in joules per token and tokens per
second, of either model or their ratio, and name the versions and settings that changed with each. A step
shows with its second or third night. Of nights without a change, that differ by chance alone, one in a
hundred gives a false alarm, over all that is watched (Bonferroni); --alarms-per-100 says another rate.

  greenbench bench technique=gptq results=nights/2026-11-29     each night, in a folder of its own
  greenbench watch nights/*

The exit status is 1 where the newest night shows a step, for CI.
"""


def add_watch(commands: Commands) -> None:
    """The command ``watch``."""
    found = commands.add_parser(
        "watch",
        help="find when numbers stepped over many nights, and what had changed",
        description=WATCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("results", nargs="*", type=Path, help="default: results")
    found.add_argument(
        "--alarms-per-100", type=float, default=ALARMS_PER_100, metavar="N",
        help="false alarms in 100 nights: default 1",
    )  # fmt: skip
    found.set_defaults(command=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.choices.history import watch

    alarms = arguments.alarms_per_100 / 100
    if not 0 < alarms < 1:
        raise UserError(
            f"--alarms-per-100 {arguments.alarms_per_100:g} is no rate: say a number above 0 and below 100."
        )
    records = loaded(arguments.results or [Path("results")])
    found = analysed(records, lambda kept: watch(kept, alarms))
    for line in _told(found):
        say(plain(line))
    return int(any(step.is_new for step in found.found))


def _told(found: Watched) -> list[str]:
    lines = [_line(step) for step in found.found]
    lines += [f"{label}: the newest record has no result that may be shown" for label in found.lost]
    if not found.series:
        nothing = "Nothing to watch: no run that serves was measured in six nights or more."
        return [*lines, nothing]
    short = f"; {found.short} runs have too few nights" if found.short else ""
    count = len(found.found)
    steps = f"{count or 'no'} step{'' if count == 1 else 's'}"
    lines.append(f"{found.series} numbers were watched: {steps}{short}.")
    return lines


def _line(step: Found) -> str:
    whose = "candidate over baseline" if step.what == "ratio" else f"the {step.what}'s"
    unit = step.metric.ratio.replace("_", " ") if step.what == "ratio" else step.metric.unit
    news = "new: " if step.is_new else ""
    bounds = step.size.bounds
    span = f" ({_percent(bounds[0])} to {_percent(bounds[1])})" if bounds else ""
    return (
        f"{news}{step.label}, {whose} {unit}: {_percent(step.size.value)}{span} since {step.began}, "
        f"{step.nights} nights; {_between(step.changed)}"
    )


def _percent(ratio: float) -> str:
    sign = "+" if ratio > 1 else ""
    return f"{sign}{fixed(100 * (ratio - 1), 1)} %"


def _between(changed: list[Changed]) -> str:
    if not changed:
        return "no version and no setting that is recorded had changed"
    told = [
        f"{each.name} {each.before or 'none'} → {each.after or 'none'}" for each in changed[:NAMED]
    ]
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"changed: {', '.join(told)}{more}"
