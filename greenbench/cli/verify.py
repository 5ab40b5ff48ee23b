"""The commands ``verify`` and ``sign``."""

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
    verify.add_argument(
        "--signers",
        type=Path,
        metavar="FILE",
        help="ask of each record a signature by a key of this file too, as ssh's allowed_signers",
    )
    verify.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.trust import many
    from greenbench.analysis.trust.checked import verified
    from greenbench.records.folders import files
    from greenbench.records.signatures import Signers
    from greenbench.records.store import collector_paused, require_files

    paths = arguments.results or [Path("results")]
    there = files(paths)
    require_files(paths)
    asked = Signers(arguments.signers) if arguments.signers else None
    refused = differing = 0
    with collector_paused():
        for found in many.each(verified, there):
            why = found.refused or (asked and asked.refusal(found.file))
            if why:
                refused += 1
                say(plain(f"{found.file.name}: refused. {why}"))
            elif found.differs:
                differing += 1
                say(plain(f"{found.file.name}: holds, by other code: {found.differs}"))
    held = len(there) - refused
    by_other = f", {differing} of them by other code than today's" if differing else ""
    signed = " and are signed" if asked else ""
    say(f"{held} of {len(there)} records hold{signed}{by_other}{FOLLOWS if held else ''}.")
    return 1 if refused else 0


def add_sign(commands: Commands) -> None:
    """The command ``sign``."""
    sign = commands.add_parser(
        "sign",
        help="sign records with a key of yours",
        description="Leave beside each record a signature (RECORD.json.sig) by an ssh key of yours, as git "
        "signs commits. `greenbench verify --signers FILE` asks for it, and `greenbench merge` takes it "
        "along. A record that is measured again has to be signed again.",
    )
    sign.add_argument(
        "results", nargs="*", type=Path, help="directories or records; default: results"
    )
    sign.add_argument(
        "--key", type=Path, required=True, metavar="FILE",
        help="the private key, or the public one of a key that ssh-agent holds",
    )  # fmt: skip
    sign.set_defaults(command=_sign)


def _sign(arguments: argparse.Namespace) -> int:
    from greenbench.records.folders import files
    from greenbench.records.signatures import sign
    from greenbench.records.store import require_files

    paths = arguments.results or [Path("results")]
    require_files(paths)
    there = files(paths)
    sign(there, arguments.key)
    say(f"{len(there)} records are signed: greenbench verify --signers FILE asks for that.")
    return 0
