"""The command ``make``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from greenbench import api
from greenbench.cli.overrides import add_overrides
from greenbench.cli.terminal import say
from greenbench.errors import EngineFault

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MAKE_HELP = """\
Leave the model that a run would measure, as files to deploy: prepared by the same code, with the same
bytes. The hash that is told stands in the record of each run that was measured from them.

  greenbench make technique=gptq -o DIR                       for transformers, and vLLM
  greenbench make technique=prune_depth engine=vllm -o DIR    what that engine would be handed
  greenbench make technique=gguf engine=llama_cpp -o DIR      a GGUF file

Overrides are those of bench.
"""


def add_make(commands: Commands) -> None:
    """The command ``make``."""
    make = commands.add_parser(
        "make",
        help="leave the model that a run would measure, as files to deploy",
        description=MAKE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_overrides(make)
    make.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="new, or empty"
    )
    make.set_defaults(command=_make)


def _make(arguments: argparse.Namespace) -> int:
    try:
        made = api.make(
            arguments.overrides, output=arguments.output, config_dir=arguments.config_dir
        )
    except EngineFault as error:
        say(f"greenbench: {error}", error=True)
        return 1
    say(made.directory)
    say(f"checkpoint {made.checkpoint}")
    if made.flags:
        say(f"serve it with {' '.join(made.flags)}")
    return 0
