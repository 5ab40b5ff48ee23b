"""What every command that runs something is told it by."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from typing import Final

from greenbench.cli.completion import overrides
from greenbench.errors import UserError

FEWEST_HALVED: Final = 5
"""Techniques of which half of the stacks tells all pairs apart."""


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
    parser.add_argument(
        "--half",
        action="store_true",
        help="with --factorial of five or more: stacks of an odd number, and of all",
    )


def with_factorial(arguments: argparse.Namespace) -> argparse.Namespace:
    """`arguments` with the sweep that ``--factorial`` asks for. Raises UserError."""
    if arguments.factorial is None:
        if arguments.up_to is not None or arguments.half:
            option = "--half" if arguments.half else "--up-to"
            raise UserError(
                f"{option} says which stacks of --factorial are run: say which techniques."
            )
        return arguments
    if any(word.lstrip("+~").startswith("technique=") for word in arguments.overrides):
        raise UserError("--factorial names the techniques of a sweep: leave technique= out.")
    sweep = _stacks(arguments.factorial.split(","), arguments.up_to, half=arguments.half)
    return argparse.Namespace(
        **{**vars(arguments), "overrides": [*arguments.overrides, sweep], "multirun": True}
    )


def _stacks(names: list[str], most: int | None, *, half: bool) -> str:
    """A sweep of none, each of `names`, and their stacks.

    The `half` with an odd number of techniques is the fraction of highest resolution that has each alone
    (G. E. P. Box and J. S. Hunter, Technometrics 3 (1961) 311): from five on it tells all pairs apart.
    """
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise UserError(
            f"--factorial {','.join(names)} is no list of techniques: say two or more, each once, as "
            "--factorial prune_depth,int8_bnb."
        )
    if most is not None and most < 1:
        raise UserError(f"--up-to {most} leaves no stack: say 2 for pairs.")
    if half and (len(names) < FEWEST_HALVED or most is not None):
        raise UserError(
            f"--half is of {FEWEST_HALVED} techniques or more, of which it tells all pairs apart, and stands "
            "instead of --up-to: say --up-to 2 alone."
        )
    sizes = [
        size
        for size in range(1, len(names) + 1)
        if size == len(names) or (size % 2 if half else not most or size <= most)
    ]
    stacks = [some for size in sizes for some in combinations(names, size)]
    words = [some[0] if len(some) == 1 else f"[{','.join(some)}]" for some in stacks]
    return f"technique={','.join(['none', *words])}"
