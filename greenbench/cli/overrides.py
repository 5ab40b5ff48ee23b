"""What every command that runs something is told it by."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from greenbench.cli.completion import overrides
from greenbench.errors import UserError


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Hydra's overrides, and where the user's own groups are."""
    words = parser.add_argument("overrides", nargs="*", metavar="GROUP=OPTION | KEY=VALUE")
    words.completer = overrides  # type: ignore[attr-defined]  # where argcomplete looks for it
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="your own config groups, like conf/"
    )


def add_factorial(parser: argparse.ArgumentParser) -> None:
    """Techniques of which all stacks are asked for."""
    parser.add_argument(
        "--factorial",
        metavar="A,B,C",
        help="these techniques alone and in all stacks, in this order",
    )
    parser.add_argument(
        "--up-to", type=int, metavar="N", help="with --factorial: stacks of N at most, and of all"
    )


def with_factorial(arguments: argparse.Namespace) -> argparse.Namespace:
    """`arguments` with the sweep that ``--factorial`` asks for. Raises UserError."""
    if arguments.factorial is None:
        if arguments.up_to is not None:
            raise UserError(
                "--up-to says how large the stacks of --factorial are: say which techniques."
            )
        return arguments
    if any(word.lstrip("+~").startswith("technique=") for word in arguments.overrides):
        raise UserError("--factorial names the techniques of a sweep: leave technique= out.")
    sweep = _stacks(arguments.factorial.split(","), arguments.up_to)
    return argparse.Namespace(
        **{**vars(arguments), "overrides": [*arguments.overrides, sweep], "multirun": True}
    )


def _stacks(names: list[str], most: int | None) -> str:
    """A sweep of none, each of `names`, and their stacks."""
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise UserError(
            f"--factorial {','.join(names)} is no list of techniques: say two or more, each once, as "
            "--factorial prune_depth,int8_bnb."
        )
    if most is not None and most < 1:
        raise UserError(f"--up-to {most} leaves no stack: say 2 for pairs.")
    sizes = [
        size for size in range(1, len(names) + 1) if not most or size <= most or size == len(names)
    ]
    stacks = [some for size in sizes for some in combinations(names, size)]
    words = [some[0] if len(some) == 1 else f"[{','.join(some)}]" for some in stacks]
    return f"technique={','.join(['none', *words])}"
