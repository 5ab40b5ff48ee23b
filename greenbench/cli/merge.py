"""The command ``merge``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from greenbench.cli.terminal import say
from greenbench.errors import UserError
from greenbench.wording import plain

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_merge(commands: Commands) -> None:
    """The command ``merge``."""
    merge = commands.add_parser(
        "merge",
        help="put the records of several results directories into one",
        description="Copy the records of several results directories, as several machines or days leave "
        "them, into one. Copies are taken once; two runs of one key are both kept. What is altered, cut "
        "short or no record is named and left out.",
    )
    merge.add_argument("results", nargs="+", type=Path, help="directories or records")
    merge.add_argument("-o", "--output", type=Path, metavar="DIR", required=True)
    merge.set_defaults(command=_merge)


def _merge(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.trust import many
    from greenbench.analysis.trust.checked import whole
    from greenbench.records.merge import merge
    from greenbench.records.store import collector_paused, require_files

    require_files(arguments.results)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise UserError(f"{arguments.output} is not a directory: choose another with -o DIR.")
    with collector_paused():
        found = merge(arguments.results, arguments.output, whole, many.each)
    for each in found.refused:
        say(plain(f"{each.name}: left out. {each.reason}"))
    say(
        f"{found.taken} records were added to {arguments.output}"
        f"{f', {found.beside} of them beside another of their key' if found.beside else ''}; "
        f"{found.copies} were there already, {len(found.refused)} left out: "
        f"greenbench report {arguments.output} shows them."
    )
    return 1 if found.refused else 0
