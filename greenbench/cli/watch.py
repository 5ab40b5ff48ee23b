"""The command ``watch``: where numbers stepped from one night to another."""

from __future__ import annotations

import argparse
from functools import partial
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from greenbench.cli.read import analysed, loaded, put
from greenbench.cli.terminal import say
from greenbench.errors import UserError
from greenbench.wording import change, duration, plain

if TYPE_CHECKING:
    from greenbench.analysis.choices.history import Changed, Found, Watched
    from greenbench.campaign.search.version_search import Searched
    from greenbench.stats.intervals import Interval

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
ALARMS_PER_100: Final = 1.0
UNTOLD: Final = 3
"""The exit status of a search that does not tell one version."""
NAMED: Final = 8
"""Changed versions that one line names."""
OFF: Final = {0: "", -1: " (a night before)", 1: " (a night behind)"}
"""How far from the step they changed."""

WATCH_HELP = """\
Look through the records of many nights for steps of more than 2 % in joules per token and tokens per
second, of either model or their ratio, and name the versions and settings that changed with each. A step
shows with its second or third night. Of nights without a change, that differ by chance alone, one in a
hundred gives a false alarm, over all that is watched (Bonferroni); --alarms-per-100 says another rate.

  greenbench bench technique=gptq results=nights/2026-11-29     each night, in a folder of its own
  greenbench watch nights/* --figure history.svg
  greenbench watch nights/* --bisect transformers     with which version of it the newest step came

The exit status is 1 where the newest night shows a step, for CI.

--bisect takes the newest step with which that package changed, and runs the night's command with its versions
from before the step to behind it, as pip lists them, each in a fresh environment that is else like this one:
both ends first, then halving. A version is bad where it lies beyond the middle between the ends; each has 3
to 12 sessions, until that is told, so that 5 % of searches are wrong at most. A version that does not install
or run is skipped. Its runs are ordinary records in DIR/KEY, with that night's key, from which the same
command goes on; environments are removed once they are not needed. The exit status is then 0 where one
version is told, and 3 where none is.
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
    found.add_argument("--figure", type=Path, metavar="FILE", help="draw the nights as SVG")
    found.add_argument(
        "--bisect", metavar="PACKAGE", help="find with which version of it the newest step came"
    )
    found.add_argument(
        "--into", type=Path, metavar="DIR", help="with --bisect: default bisect/PACKAGE"
    )
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
    if arguments.figure is not None:
        _draw(found, arguments.figure)
    if arguments.bisect is not None:
        return _bisect(found, arguments.bisect, arguments.into or Path("bisect") / arguments.bisect)
    return int(any(step.is_new for step in found.found))


def _draw(found: Watched, output: Path) -> None:
    from greenbench.report.figures.history import history

    sketch = history(found)
    if sketch is None:
        raise UserError("There is no figure of numbers that were not watched: leave --figure out.")
    put(sketch.draw(), output, "--figure")


def _bisect(found: Watched, package: str, folder: Path) -> int:
    """Runs, and not only records that are there: 3 where it is not told with which version the step came."""
    from greenbench.campaign.search.version_search import Fresh, asked, expected, search, spent

    ask = asked(found, package, folder)
    tell = partial(say, error=True)
    fresh = Fresh(ask, lambda text: tell(f"greenbench: {text}"))
    say(plain(f"Searched: {_line(ask.step)}"))
    tell(f"greenbench: {expected(ask)}")
    searched = search(ask, fresh)
    for line in _placed(searched):
        say(plain(line))
    say(f"{spent(searched.records)}; environments took {duration(fresh.installing_s)}.")
    suspects = searched.found.suspects
    return 0 if suspects and suspects.bad == suspects.good + 1 else UNTOLD


def _placed(searched: Searched) -> list[str]:
    """Each version with what it showed, and with which the step came."""
    row, package, (suspects, levels, skipped) = (
        searched.asked.versions, searched.asked.package, searched.found
    )  # fmt: skip
    lines = [
        f"{package} {row[at]}: {_against(level, row[0])}, {level.n} sessions"
        for at, level in levels.items()
    ]
    lines += [f"{package} {row[at]}: skipped, {why}" for at, why in sorted(skipped.items())]
    if suspects is None:
        lost = f"{package} {row[-1]} is not shown to differ from {row[0]} as the nights do"
        return [*lines, f"{lost}: the step came with something else."]
    good, bad = suspects
    with_it = [each for each in searched.changed if each.name != package]
    also = f"; with it {_between(with_it)}" if with_it else ""
    if bad == good + 1:
        return [*lines, f"The step came with {package} {row[bad]}, after {row[good]}{also}."]
    between = ", ".join(row[good + 1 : bad])
    told = f"The step came with {package} {row[bad]} or one of those skipped before it, {between}"
    return [*lines, f"{told}; {row[good]} is as before{also}."]


def _against(level: Interval, first: str) -> str:
    if level.bounds is None:
        return "what the others are held against"
    low, high = (change(exp(end)) for end in level.bounds)
    return f"{change(exp(level.value))} ({low} to {high}) of {first}'s"


def _told(found: Watched) -> list[str]:
    lines = [_line(step) for step in found.found]
    lines += [f"{label}: the newest record has no result that may be shown" for label in found.lost]
    if not found.series:
        nothing = "Nothing to watch: no run that serves was measured in six nights or more."
        return [*lines, nothing]
    short = f"; {found.short} runs have too few nights" if found.short else ""
    count = len(found.found)
    steps = f"{count or 'no'} step{'' if count == 1 else 's'}"
    lines.append(f"{len(found.series)} numbers were watched: {steps}{short}.")
    return lines


def _line(step: Found) -> str:
    whose = "candidate over baseline" if step.what == "ratio" else f"the {step.what}'s"
    unit = step.metric.ratio.replace("_", " ") if step.what == "ratio" else step.metric.unit
    news = "new: " if step.is_new else ""
    bounds = step.size.bounds
    span = f" ({change(bounds[0])} to {change(bounds[1])})" if bounds else ""
    return (
        f"{news}{step.label}, {whose} {unit}: {change(step.size.value)}{span} since {step.began}, "
        f"{step.nights} nights; {_between(step.changed)}"
    )


def _between(changed: list[Changed]) -> str:
    if not changed:
        return "no version and no setting that is recorded had changed"
    told = [
        f"{each.name} {each.before or 'none'} → {each.after or 'none'}{OFF[each.nights_off]}"
        for each in changed[:NAMED]
    ]
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"changed: {', '.join(told)}{more}"
