"""All commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from greenbench import __version__
from greenbench.cli.advise import add_advise
from greenbench.cli.bench import add_bench, add_fetch
from greenbench.cli.completion import add_completion, answer
from greenbench.cli.crossover import add_crossover
from greenbench.cli.doctor import add_doctor
from greenbench.cli.make import add_make
from greenbench.cli.mcp import add_mcp
from greenbench.cli.merge import add_merge
from greenbench.cli.output import printed
from greenbench.cli.parser import Parser
from greenbench.cli.race import add_race
from greenbench.cli.read import add_compare, add_export, add_report
from greenbench.cli.reproduce import add_reproduce
from greenbench.cli.terminal import say
from greenbench.cli.verify import add_sign, add_verify
from greenbench.cli.watch import add_watch
from greenbench.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 well, 1 a run failed or a limit is broken, 2 a mistake in
    the call, 3 a limit that cannot be judged."""
    return printed(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parse(argv)
        status: int = arguments.command(arguments)
    except UserError as error:
        say(f"greenbench: {error}", error=True)
        return 2
    except KeyboardInterrupt:
        say(
            "greenbench: interrupted; finished runs are kept, the same command goes on.", error=True
        )
        return 130
    return status


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options and overrides in any order, which argparse alone does not allow."""
    ours = parser()
    answer(ours)
    arguments, rest = ours.parse_known_args(argv)
    if rest and ("overrides" not in arguments or any(word.startswith("-") for word in rest)):
        arguments.parser.refuse(rest)
    if rest:
        arguments.overrides += rest
    return arguments


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    parser: argparse.ArgumentParser = Parser(
        "greenbench",
        description="What efficiency techniques really save on real language models: "
        "accuracy, latency and joules per token.",
    )
    parser.add_argument("--version", action="version", version=f"greenbench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        add_bench,
        add_fetch,
        add_make,
        add_report,
        add_compare,
        add_advise,
        add_crossover,
        add_race,
        add_reproduce,
        add_watch,
        add_export,
        add_verify,
        add_sign,
        add_merge,
        add_doctor,
        add_mcp,
        add_completion,
    ):
        add(commands)
    for each in commands.choices.values():
        each.set_defaults(parser=each)
    return parser
