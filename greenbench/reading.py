"""The commands that only read records and print: advise, export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from greenbench.errors import UserError

if TYPE_CHECKING:
    from greenbench.store import Loaded

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_advise(commands: Commands) -> None:
    """The command ``advise``."""
    advise = commands.add_parser(
        "advise",
        help="say which run to choose under your limits, what it saves and what is not shown yet",
        description="Choose among measured runs: the one that saves the most energy and is shown to "
        "keep every limit, with the runners-up, the yearly kWh, cost and CO2e it saves, and when "
        "its preparation pays back; or say that the evidence is too thin, and which runs settle it.",
    )
    advise.add_argument(
        "results", nargs="*", type=Path, default=[Path("results")], help="default: results"
    )
    for option, unit in (
        ("--max-quality-loss", "POINTS"),
        ("--max-token-ms", "MS"),
        ("--max-first-token-ms", "MS"),
        ("--max-memory-gb", "GB"),
        ("--requests-per-day", "N"),
    ):
        advise.add_argument(option, metavar=unit)
    advise.add_argument("--country", metavar="CODE", help="such as FRA, USA or WORLD")
    advise.add_argument("--model", default="", help="only models whose name holds this")
    advise.add_argument("--device", default="", help="only devices whose name holds this")
    advise.add_argument("--impact", nargs="+", default=[], metavar="KEY=VALUE",
                        help="other assumptions than conf/impact's, such as pue=1.2")  # fmt: skip
    advise.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    advise.set_defaults(command=_advise)


def _advise(arguments: argparse.Namespace) -> int:
    from greenbench.impact import assumptions
    from greenbench.report import advice, advice_text
    from greenbench.report.needs import needs

    wanted = needs(
        {
            "quality_loss": arguments.max_quality_loss,
            "token_ms": arguments.max_token_ms,
            "first_token_ms": arguments.max_first_token_ms,
            "memory_gb": arguments.max_memory_gb,
            "requests_per_day": arguments.requests_per_day,
        }
    )
    country = [f"country={arguments.country}"] if arguments.country else []
    given = assumptions([*country, *arguments.impact])
    records = loaded(arguments.results).records
    found = advice.advise(records, wanted, given, model=arguments.model, device=arguments.device)
    formats = {
        "text": advice_text.as_text,
        "markdown": advice_text.as_markdown,
        "json": advice_text.as_json,
    }
    print(formats[arguments.format](found, wanted, given))
    return 0


def loaded(paths: list[Path]) -> Loaded:
    """All records of `paths`. Raises UserError for a path that does not exist."""
    from greenbench.store import load

    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist: give a record or a results directory.")
    return load(paths)
