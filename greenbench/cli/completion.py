"""The command ``completion``, and the answer to a shell that asks at each TAB."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SHELLS = ("bash", "zsh", "fish")
HELP = """\
Print what a shell needs to complete commands, options, groups and their options, keys and experiments:

  eval "$(greenbench completion bash)"        in ~/.bashrc
  eval "$(greenbench completion zsh)"         in ~/.zshrc, after compinit
  greenbench completion fish | source         in ~/.config/fish/config.fish
"""


def add_completion(commands: Commands) -> None:
    """The command ``completion``."""
    completion = commands.add_parser(
        "completion",
        help="print what a shell needs to complete all this at TAB",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS), metavar="SHELL")
    completion.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["greenbench"], shell=arguments.shell), end="")
    return 0


def overrides(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Mapping[str, str]:
    """What may follow of the override that `prefix` begins."""
    from greenbench.campaign.lexicon import completions

    beside = getattr(parsed_args, "config_dir", None)
    return completions(prefix, [beside] if beside else [])


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell a shell that asks what may follow, and leave; return at once where none does."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    from argcomplete.finders import CompletionFinder

    class Finder(CompletionFinder):
        """Overrides may follow options, where argparse by itself takes no more of them."""

        def collect_completions(
            self, active_parsers: Any, parsed_args: argparse.Namespace, cword_prefix: str
        ) -> list[str]:
            found: list[str] = super().collect_completions(
                active_parsers, parsed_args, cword_prefix
            )
            last = active_parsers[-1]
            if "overrides" in parsed_args and not last.active_actions and cword_prefix[:1] != "-":
                more = overrides(cword_prefix, parsed_args)
                self._display_completions.update(more)
                found += more
            return found

    Finder()(parser, always_complete_options="long")
