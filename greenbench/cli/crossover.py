"""The command ``crossover``: where the winner changes."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from greenbench.cli.overrides import add_overrides
from greenbench.cli.terminal import say
from greenbench.wording import TIMES

if TYPE_CHECKING:
    from greenbench.campaign.search.crossover import Crossover, Place
    from greenbench.schema.record import Record

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
WITHIN: Final = 1.25
WORDS: Final = {1: "the candidate wins", 0: "not told apart", -1: "the baseline wins"}

CROSSOVER_HELP = """\
Find where along batch size, prompt length, answer length or a rate a technique stops paying: it is run at
both ends and in the middle, then between values that differ, until each change is known within a factor.
Its runs are ordinary records, so that a search that was stopped goes on, and what was measured before is
not measured again. The chance that any value is called wrongly is 5 %: signs are told by intervals that
are widened for so many looks (Bonferroni).

  greenbench crossover workload.batch_size=1:64 technique=int8_bnb
  greenbench crossover workload.prompt_tokens=16:4096 technique=int4_torchao --within 1.5
  greenbench crossover load.rate=0.5:16 workload=online technique=int4_torchao
"""


def add_crossover(commands: Commands) -> None:
    """The command ``crossover``."""
    found = commands.add_parser(
        "crossover",
        help="find where along a key of the workload the winner changes",
        description=CROSSOVER_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("along", metavar="KEY=LOW:HIGH")
    add_overrides(found)
    found.add_argument(
        "--within", type=float, default=WITHIN, metavar="FACTOR",
        help=f"how exactly a change is to be known: default {WITHIN}",
    )  # fmt: skip
    found.set_defaults(command=_crossover)


def _crossover(arguments: argparse.Namespace) -> int:
    from greenbench import api
    from greenbench.campaign.search.crossover import along, crossover

    overrides = list(arguments.overrides)

    def ask(word: str) -> list[Record]:
        return api.bench([*overrides, word], config_dir=arguments.config_dir)

    found = crossover(
        ask, overrides, along(arguments.along), arguments.within, partial(say, error=True)
    )
    for line in _told(found):
        say(line)
    return 0


def _told(found: Crossover) -> list[str]:
    """Each run and what it shows, and where the winner changes."""
    key = found.along.key
    lines = [
        f"{key}={found.along.told(place.at)}: {_shown(place, found)}" for place in found.places
    ]
    runs = f"{len(found.places)} runs, where a grid as fine has {found.grid}"
    for each in found.found:
        change = "begins to win" if each.rises else "stops winning"
        lines.append(f"The candidate {change} between {key}={_ends(found, *each[:2])}: {runs}.")
    if not found.found:
        lines.append(
            f"No change of the winner is shown between {key}="
            f"{_ends(found, found.along.low, found.along.high)}: {len(found.places)} runs."
        )
    return lines


def _ends(found: Crossover, low: float, high: float) -> str:
    return f"{found.along.told(low)} and {found.along.told(high)}"


def _shown(place: Place, found: Crossover) -> str:
    from greenbench.schema.quantity import said

    what = f" ({found.metric.unit})" if found.metric else ""
    return f"{said(place.ratio, suffix=TIMES)} of the baseline's{what}, {WORDS[place.sign]}"
