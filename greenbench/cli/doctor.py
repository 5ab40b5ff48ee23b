"""The command ``doctor``."""

from __future__ import annotations

import argparse
import json
from typing import TypeAlias

from greenbench.cli.terminal import say

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_doctor(commands: Commands) -> None:
    """The command ``doctor``."""
    examine = commands.add_parser(
        "doctor",
        help="say what this machine can measure and run",
        description="Say which meters answer here, which techniques, models and tasks can run and "
        "why not the rest, and what would disturb a run.",
    )
    examine.add_argument("--json", action="store_true", help="for machines")
    examine.add_argument(
        "--calibrate",
        action="store_true",
        help="measure first how fine the meters are and this machine's noise floor, and keep it "
        "for records to cite (some minutes)",
    )
    examine.add_argument(
        "--neighbours",
        action="store_true",
        help="measure first whether runs on this machine's GPUs leave each other alone (ten minutes or so)",
    )
    examine.add_argument(
        "--power",
        action="store_true",
        help="say only what runs here can show: the chance that a saving of 3, 5 or 10 %% gets its "
        "verdict, by how much blocks differ on this device",
    )
    examine.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from greenbench.doctor import examine

    if arguments.calibrate:
        from greenbench.doctor.calibrate import calibrate
        from greenbench.files import require_cache

        require_cache()
        calibrate(lambda text: say(text, error=True))
    if arguments.neighbours:
        from greenbench.doctor.neighbours import check
        from greenbench.files import require_cache

        require_cache()
        check(lambda text: say(text, error=True))
    if arguments.power:
        from greenbench.doctor import power

        shown = power.power()
        say(json.dumps(shown, indent=1) if arguments.json else power.as_text(shown))
        return 0
    findings = examine.examine()
    say(json.dumps(findings, indent=1) if arguments.json else examine.as_text(findings))
    return 0
