"""The command ``reproduce``: published tables, and whether runs bear them out."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from greenbench.cli.overrides import add_overrides
from greenbench.cli.read import analysed, loaded
from greenbench.cli.terminal import say
from greenbench.errors import UserError
from greenbench.wording import TIMES, TO, number, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenbench.analysis.reproduction.judge import Judged, Zone
    from greenbench.analysis.reproduction.tables import Published, Table
    from greenbench.campaign.search.trials import Trial

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

REPRODUCE_HELP = """\
Test what has been published: each number of a table is reproduced, contradicted, undecided (our interval
is too wide) or not comparable, with both numbers and the reason. Joules with idle power and above it are
never set against each other: runs are turned into the table's own basis, which needs their idle windows.

  greenbench reproduce                                  the tables, with their sources
  greenbench reproduce bnb-by-size --list               what of it can be tested here, and how long it takes
  greenbench reproduce bnb-by-size                      run that, and say what comes of it
  greenbench reproduce bnb-by-size results              judge runs that are there; nothing is run
  greenbench reproduce bnb-by-size model=smollm2-135m   run another model in its place, which compares nothing
  greenbench reproduce my-table.yaml results            a table of your own

Its runs are ordinary records: a call that was stopped goes on.
"""


def add_reproduce(commands: Commands) -> None:
    """The command ``reproduce``."""
    found = commands.add_parser(
        "reproduce",
        help="say whether runs bear out a published table",
        description=REPRODUCE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("table", nargs="?", metavar="TABLE", help="default: name all of them")
    add_overrides(found)
    found.add_argument(
        "--list",
        action="store_true",
        help="say what can be tested here and how long it takes, and stop",
    )
    found.set_defaults(command=_reproduce)


def _reproduce(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.reproduction import tables

    if arguments.table is None:
        for name in tables.names():
            each = tables.table(name)
            source = each.source
            who = f"{source.authors}, {source.year}, {source.link}"
            say(plain(f"{name}: {each.claims} ({len(each.rows)} numbers; {who})", 400))
        return 0
    table = tables.table(arguments.table)
    given = [word for word in arguments.overrides if "=" in word]
    paths = [Path(word) for word in arguments.overrides if "=" not in word]
    if paths and (given or arguments.list):
        what = given[0] if given else "--list"
        raise UserError(f"{what} is for runs, and {paths[0]} is to be judged: say one of the two.")
    lines = _judged(table, paths) if paths else _run(table, given, arguments)
    for line in [f"{table.name}: {table.claims}", f"source: {_source(table)}", *lines]:
        say(plain(line, 600))
    return 0


def _source(table: Table) -> str:
    source = table.source
    return f"{source.authors}, {source.title}, {source.year}, {source.link}, {source.where}"


def _judged(table: Table, paths: list[Path]) -> list[str]:
    """Of records that are there."""
    from greenbench.analysis.reproduction.judge import judged

    return told(analysed(loaded(paths), lambda kept: judged(table, kept)))


def _run(table: Table, given: list[str], arguments: argparse.Namespace) -> list[str]:
    """Of runs that are measured now, as far as they can be."""
    from greenbench import api
    from greenbench.analysis.reproduction.judge import judged
    from greenbench.campaign.search.trials import measured, trials

    found = trials(table, given, arguments.config_dir)
    if arguments.list:
        return list(_listed(found, arguments.config_dir))
    able = [each for each in found if each.runnable]
    if not able:
        return [
            *_why_not(found),
            "Nothing of it can be tested here. To run another model in its place say model=... "
            "(it compares nothing), to judge runs from elsewhere name their directory.",
        ]
    say(f"greenbench: runs for {len(able)} of {len(found)} numbers", error=True)
    records = measured(found, lambda words: api.bench(words, config_dir=arguments.config_dir))
    return told(judged(table, records))


def _listed(found: Sequence[Trial], config_dir: Path | None) -> Iterator[str]:
    """The runs as commands, with what they will take, and what cannot be tested."""
    from greenbench.campaign.bench import Asked, listed

    yield from _why_not(found)
    runs = dict.fromkeys(words for each in found if each.runnable for words in each.runs)
    for words in runs:
        yield from listed(Asked(words, config_dir=config_dir))
    able = sum(each.runnable for each in found)
    yield f"{able} of {len(found)} numbers would be measured here, by {len(runs)} runs."


def _why_not(found: Sequence[Trial]) -> Iterator[str]:
    """Reasons, each with how many numbers it is of."""
    reasons = Counter(
        reason for each in found for reason in dict.fromkeys([*each.lacks, *each.refused])
    )
    for reason, count in reasons.items():
        yield f"not comparable here, {count} of {len(found)} numbers: {reason}"


def told(found: Sequence[Judged]) -> list[str]:
    """A line for each number, and how many came to what."""
    from greenbench.analysis.reproduction.judge import WORDS

    counts = Counter(each.word for each in found)
    lines = [_line(each) for each in found]
    return [*lines, ", ".join(f"{counts[word]} {word}" for word in WORDS) + "."]


def _line(found: Judged) -> str:
    from greenbench.schema.quantity import said

    row = found.row
    suffix = f" {row.unit}" if row.unit else TIMES
    here = said(found.ours, suffix=suffix)
    why = f": {'; '.join(found.why)}" if found.why else ""
    doubt = f" [of the published number: {row.doubt}]" if row.doubt else ""
    there = f"{number(row.value)}{suffix} (allowed {_allowed(found.zone)})"
    return f"{_label(row)}: published {there}, here {here}: {found.word}{why}{doubt}"


def _allowed(zone: Zone) -> str:
    return f"{number(zone.low)}{TO}{number(zone.high)}, {zone.how}"


def _label(row: Published) -> str:
    """What the number is of, and on what."""
    what = row.of.ratio.replace("_", " ")
    knobs = ", ".join(f"{key}={value}" for key, value in row.knobs.items() if value is not None)
    how = row.technique and f"{row.technique}({knobs})" if knobs else row.technique
    against = f"over {row.against}" if row.against else how or "plain"
    batch = "" if row.batch is None else f", batch {row.batch}"
    basis = "" if row.of.ratio == "tokens_per_s" else f", {row.basis}"
    return f"{what}, {row.model}, {against}{batch}, {row.device}, {row.engine}{basis}"
