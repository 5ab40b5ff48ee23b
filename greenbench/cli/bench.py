"""The command ``bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from greenbench import api
from greenbench.cli.overrides import add_factorial, add_overrides, with_factorial
from greenbench.cli.terminal import say

if TYPE_CHECKING:
    from greenbench.campaign.bench import Asked
    from greenbench.schema.record import Record

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

BENCH_HELP = """\
Measure what efficiency techniques save: accuracy, latency and joules per token of a model with a
technique, against the same model without, side by side in one run.

  greenbench bench technique=int8_bnb                    one run
  greenbench bench --multirun technique=none,int8_bnb    a sweep of two
  greenbench bench --multirun +experiments=smoke         a sweep that comes with GreenBench
  greenbench bench 'technique=[prune_depth,int8_bnb]'    a stack, applied in this order
  greenbench bench --factorial prune_depth,int8_bnb      both alone and as a stack: what they share
  greenbench bench model=hub model.id=Qwen/Qwen3-0.6B    any causal language model of the hub

What is done already is not run again. Records go to results/records/, the report is
results/leaderboard.md, results/frontier.svg and results/index.html. Overrides are Hydra's:
GROUP=OPTION chooses a file of values, KEY=VALUE changes one value (greenbench bench --cfg shows
them all).
"""

FETCH_HELP = """\
Bring all files here that runs need, of models, draft models and tasks, and measure nothing: on a login
node of a cluster, before the machine with the GPU takes over. Overrides are those of bench.

  greenbench fetch --multirun +experiments=frontier-gpu
  greenbench fetch model=hub model.id=Qwen/Qwen3-0.6B
"""


def add_bench(commands: Commands) -> None:
    """The command ``bench``."""
    sweep = commands.add_parser(
        "bench",
        help="measure techniques on a model and write the leaderboard",
        description=BENCH_HELP,
        epilog=_choices() if _asks_for_bench_help() else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(sweep)
    shows = sweep.add_mutually_exclusive_group()
    shows.add_argument(
        "--cfg", action="store_true", help="print the composed configuration and stop"
    )
    shows.add_argument(
        "--list",
        action="store_true",
        help="print each run's command and how long it takes, and stop",
    )
    sweep.add_argument(
        "--part", type=Path, help=argparse.SUPPRESS
    )  # what a launcher's jobs are told
    sweep.set_defaults(command=_bench)


def add_fetch(commands: Commands) -> None:
    """The command ``fetch``."""
    fetch = commands.add_parser(
        "fetch",
        help="bring all files here that runs need",
        description=FETCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(fetch)
    fetch.set_defaults(command=_fetch)


def _add_what(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    add_overrides(parser)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="every combination of the values given"
    )
    parser.add_argument(
        "--shard", default="1/1", metavar="I/N", help="every N-th run alone, from the I-th"
    )
    add_factorial(parser)


def _asks_for_bench_help() -> bool:
    return "bench" in sys.argv and bool({"-h", "--help"} & set(sys.argv))


def _choices() -> str:
    """Every option of every group; those with a word to say, one a line."""
    from greenbench.campaign.catalog import GROUPS, comment, experiments, options

    short = [group for group in GROUPS if group not in ("technique", "engine")]
    lines = ["groups and their options:"]
    lines += [f"  {group:10} {', '.join(options(group))}" for group in short]
    told = {
        "techniques": options("technique"),
        "engines": options("engine"),
        "meters, for meter.order": options("meter.order"),
        "experiments": {name: comment(path) for name, path in experiments().items()},
    }
    for title, known in told.items():
        lines += ["", f"{title}:", *(f"  {name:18} {said}" for name, said in known.items())]
    return "\n".join(lines)


def _bench(arguments: argparse.Namespace) -> int:
    arguments = with_factorial(arguments)
    if arguments.cfg:
        return _show(arguments)
    if arguments.list:
        return _list(arguments)
    records = _measured(arguments)
    bad = {"failed", "unsupported"} if len(records) == 1 else {"failed"}
    return int(any(record.status in bad for record in records))


def _measured(arguments: argparse.Namespace) -> list[Record]:
    if arguments.part is not None:
        from greenbench.campaign.bench import bench

        return bench(_asked(arguments)._replace(part=arguments.part))
    return api.bench(
        arguments.overrides,
        multirun=arguments.multirun,
        config_dir=arguments.config_dir,
        shard=arguments.shard,
    )


def _show(arguments: argparse.Namespace) -> int:
    from greenbench.campaign.compose import plan, resolved_yaml
    from greenbench.plugins import answerable

    with answerable():
        jobs = plan(
            arguments.overrides, multirun=arguments.multirun, config_dir=arguments.config_dir
        )
    say("---\n".join(resolved_yaml(job) for job in jobs), end="")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from greenbench.campaign.bench import listed

    for line in listed(_asked(arguments)):
        say(line)
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from greenbench.campaign.bench import fetch

    fetch(_asked(with_factorial(arguments)))
    return 0


def _asked(arguments: argparse.Namespace) -> Asked:
    from greenbench.campaign.bench import Asked

    return Asked(arguments.overrides, arguments.multirun, arguments.config_dir, arguments.shard)
