"""The command ``verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from greenbench.cli.terminal import say
from greenbench.wording import plain

FOLLOWS = ": their numbers follow from their raw readings, whose own truth nothing here can prove"
"""What holding shows of records, and what it does not."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_verify(commands: Commands) -> None:
    """The command ``verify``."""
    verify = commands.add_parser(
        "verify",
        help="say whether records are what their raw readings say",
        description="Draw every level, ratio, interval, verdict, code and key of records anew from their raw "
        "readings, and say of each record that is altered, cut short or no record what is wrong. The raw "
        "readings themselves are not authenticated: who makes up all of them is not found out. Exit status 1 "
        "where a record is refused.",
    )
    verify.add_argument(
        "results", nargs="*", type=Path, help="directories or records; default: results"
    )
    verify.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.trust import many
    from greenbench.analysis.trust.checked import verified
    from greenbench.records.folders import files
    from greenbench.records.store import collector_paused, require_files

    paths = arguments.results or [Path("results")]
    there = files(paths)
    require_files(paths)
    refused = differing = 0
    with collector_paused():
        for found in many.each(verified, there):
            if found.refused:
                refused += 1
                say(plain(f"{found.name}: refused. {found.refused}"))
            elif found.differs:
                differing += 1
                say(plain(f"{found.name}: holds, by other code: {found.differs}"))
    held = len(there) - refused
    by_other = f", {differing} of them by other code than today's" if differing else ""
    say(f"{held} of {len(there)} records hold{by_other}{FOLLOWS if held else ''}.")
    return 1 if refused else 0
