"""The command line's own mistakes, in one sentence each."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

from greenbench.errors import UserError
from greenbench.wording import meant


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print a usage and leave."""

    def error(self, message: str) -> NoReturn:
        """Of what argparse itself finds wrong."""
        raise UserError(f"{message[:1].upper()}{message[1:]}: see {self.prog} --help.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        allowed = [str(each) for each in action.choices]
        said = f"allowed are {', '.join(allowed)}{meant(str(value), allowed)}."
        if not isinstance(action, argparse._SubParsersAction):
            name = action.option_strings[-1] if action.option_strings else str(action.metavar)
            raise UserError(f"{name} {value} is unknown: {said}")
        if "=" in str(value):
            raise UserError(f"{value} is no command: write {self.prog} bench {value}.")
        raise UserError(f"{value} is no command of {self.prog}: {said}")

    def refuse(self, rest: Iterable[str]) -> NoReturn:
        """Say what is wrong with words that were not understood."""
        word = next((each for each in rest if each.startswith("-")), None)
        if word is None:
            raise UserError(f"{self.prog} has no use for {' '.join(rest)}: see {self.prog} --help.")
        option = word.partition("=")[0]
        known = sorted(each for each in self._option_string_actions if each.startswith("--"))
        raise UserError(
            f"{option} is no option of {self.prog}: allowed are {', '.join(known)}{meant(option, known)}."
        )
