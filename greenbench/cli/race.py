"""The command ``race``: the best stack under limits, by runs that are stopped once they are beaten."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from math import exp, inf
from typing import TYPE_CHECKING, Final, TypeAlias

from greenbench.cli.overrides import add_overrides
from greenbench.cli.terminal import say
from greenbench.wording import TIMES, TO, fixed, number, percent

if TYPE_CHECKING:
    from greenbench.campaign.search.race import Found
    from greenbench.schema.record import Record
    from greenbench.stats.contenders import Board, Entry

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
LIKELY: Final = 0.5
MOST_SAID: Final = 0.99
OF_ALL: Final = "the best of all that are not thought to break a limit"
WORDS: Final = {
    "kept": "is shown to be kept",
    "broken": "is shown to be broken",
    "unsure": "is not shown to be kept",
}

RACE_HELP = """\
Find the stack of techniques that draws the least under your limits, without a grid: every candidate gets a
few blocks and items, those that are surely beaten or surely break a limit get no more, and stacks of the
rest are tried, until one is within 2 % of the best of all that are not thought to break a limit, with 95 % at
least, or the budget is spent. Candidates are the techniques named, each of their knobs' values named, and
engines and batch sizes where several are named; where no technique is, those of the device's frontier sweep.
All intervals hold at every look (a normal mixture over sessions), for all candidates together (Bonferroni).

Its runs are ordinary records, each round a session: a race that was stopped goes on, and a budget is that of
all of its runs, whenever they were. Where joules are estimated it goes by tokens per second.

  greenbench race model=smollm2-135m --max-quality-loss 1 --max-token-ms 60 --budget 2h
  greenbench race technique=gptq,int4_torchao,prune_depth technique.prune_depth.fraction=0.1,0.2 --budget 5MJ
"""


def add_race(commands: Commands) -> None:
    """The command ``race``."""
    found = commands.add_parser(
        "race",
        help="find the best stack of techniques under limits, in a part of a grid's joules",
        description=RACE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_overrides(found)
    for option, unit, told in (
        ("--max-quality-loss", "POINTS", "of accuracy: default 1; 100 is any"),
        ("--max-token-ms", "MS", "median time per output token"),
        ("--max-first-token-ms", "MS", "median time to the first token"),
        ("--budget", "2h|5MJ", "what all its runs may take: default, as much as it takes"),
    ):
        found.add_argument(option, metavar=unit, help=told)
    found.set_defaults(command=_race)


def _race(arguments: argparse.Namespace) -> int:
    from greenbench import api
    from greenbench.analysis.choices.needs import needs
    from greenbench.campaign.search.field import field
    from greenbench.campaign.search.race import race
    from greenbench.campaign.search.spending import budget

    wanted = needs(
        {
            "quality_loss": arguments.max_quality_loss,
            "token_ms": arguments.max_token_ms,
            "first_token_ms": arguments.max_first_token_ms,
        }
    )
    most = None if arguments.budget is None else budget(arguments.budget)
    runners = field(arguments.overrides, arguments.config_dir)

    def ask(words: Sequence[str]) -> list[Record]:
        return api.bench(words, config_dir=arguments.config_dir)

    for line in told(race(runners, ask, wanted, most, partial(say, error=True))):
        say(line)
    return 0


def told(found: Found) -> list[str]:
    """Each candidate and why it went, the winner, what is open, and what the race cost."""
    board = found.race.board
    tried = [entry for entry in board.entries if entry.parts]
    lines = [f"{_name(entry, found)}: {_fate(entry, found)}" for entry in tried]
    return [*lines, "", *_answer(found), _cost(found)]


def _name(entry: Entry, found: Found) -> str:
    return found.field.label(entry)


def _ratio(entry: Entry, found: Found) -> str:
    """With the interval that holds at every look."""
    mean, (low, high) = found.race.board.mean(entry), found.race.board.bounds(entry)
    if mean is None:
        return "n/a"
    if not entry.parts:
        return f"1{TIMES}"
    if high == inf:
        return f"{number(exp(mean))}{TIMES} (no interval yet)"
    half = (exp(high) - exp(low)) / 2
    places = len(number(exp(mean), half).partition(".")[2])
    ends = TO.join(fixed(exp(end), places) for end in (low, high))
    return f"{fixed(exp(mean), places)}{TIMES} ({ends})"


def _fate(entry: Entry, found: Found) -> str:
    """What came of a candidate."""
    race, board = found.race, found.race.board
    if entry in race.failed:
        return f"not measured: {race.failed[entry]}"
    if entry not in board.rounds:
        return "not begun"
    count = board.rounds[entry]
    seen = f"{count} round{'' if count == 1 else 's'}, {_ratio(entry, found)}"
    if board.mean(entry) is None:
        return f"{count} round{'' if count == 1 else 's'}, spoilt"
    return seen if entry == board.best else f"{seen}; {_why(entry, found)}"


def _why(entry: Entry, found: Found) -> str:
    """Why it is not the best."""
    board, left = found.race.board, found.race.left
    gone = f"out after {left[entry]} runs" if entry in left else "out"
    standings = {each: board.standing(entry, each) for each in ("loss", *board.limits)}
    if broken := [limit for limit, word in standings.items() if word == "broken"]:
        return f"{gone}, breaks the limit of {_limits(broken)}"
    if (winner := board.beaten_by(entry)) is not None:
        return f"{gone}, beaten by {_name(winner, found)}"
    if entry not in board.alive():
        open_ones = [limit for limit, word in standings.items() if word == "unsure"]
        return f"seems to break the limit of {_limits(open_ones)}, which is not shown"
    return "not told apart from the best"


def _limits(names: Sequence[str]) -> str:
    return " and ".join("quality" if name == "loss" else name for name in names)


def _answer(found: Found) -> list[str]:
    from greenbench.stats.contenders import GOAL

    board, best = found.race.board, found.race.board.best
    if best is None:
        return ["Nothing that was tried keeps the limits."]
    what = "J/token" if found.metric.better == "lower" else "time per token"
    lines = [
        f"Best: {_name(best, found)}, {_ratio(best, found)} of the baseline's {what}; {_sureness(board)}."
    ]
    if best.parts:
        lines += [
            f"The limit of {_limits([each])} {WORDS[board.standing(best, each)]}."
            for each in ("loss", *board.limits)
        ]
    if not board.is_sure():
        near = [each for each in board.contenders() if board.gap(best, each).high > GOAL]
        rest = [_name(each, found) for each in near if each != best]
        why = (
            "The budget ended first" if found.race.spent_out else "More rounds would not tell soon"
        )
        lines.append(f"{why}: undecided between it and {', '.join(rest)}.")
    return lines


def _sureness(board: Board) -> str:
    sure = board.confidence()
    if sure < LIKELY:
        return f"that it is within 2 % of {OF_ALL} is not shown"
    said = percent(min(sure, MOST_SAID))
    return f"within 2 % of {OF_ALL} with a probability of {said} or more"


def _cost(found: Found) -> str:
    board = found.race.board
    runs = sum(board.rounds.values())
    said = f"The race took {runs} runs: {found.cost}{_by(found)}"
    if found.tokens is None:
        why = (
            "joules are not measured"
            if found.cost.estimated or not found.cost.meters
            else "nothing is saved"
        )
        return f"{said}. When that pays back is not said, as {why}."
    requests = _counted(found.tokens / found.per_request)
    of = f"{requests} requests of {found.per_request}"
    return f"{said}, saved again after {_counted(found.tokens)} tokens at least ({of})."


def _counted(count: float) -> str:
    """To three digits."""
    return f"{float(f'{count:.3g}'):,.10g}"


def _by(found: Found) -> str:
    if not found.cost.meters:
        return ""
    return f" in its windows by {', '.join(sorted(found.cost.meters))}"
