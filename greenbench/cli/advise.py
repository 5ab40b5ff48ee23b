"""The command ``advise``: which run to choose, or how many devices a rate takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from greenbench.cli.read import Commands, analysed, impact_of, loaded
from greenbench.cli.terminal import say
from greenbench.errors import UserError

if TYPE_CHECKING:
    from greenbench.analysis.choices.needs import Needs
    from greenbench.analysis.impact import Assumptions
    from greenbench.schema.record import Record


def add_advise(commands: Commands) -> None:
    """The command ``advise``."""
    advise = commands.add_parser(
        "advise",
        help="say which run to choose under your limits, what it saves and what is not shown yet",
        description="Choose among measured runs: the one that saves the most energy and is shown to "
        "keep every limit, with the runners-up, the yearly kWh, cost and CO2e it saves, and when "
        "its preparation pays back; or say that the evidence is too thin, and which runs settle it. "
        "With --devices: how many devices serve --rate by runs under load, and what they draw.",
    )
    advise.add_argument("results", nargs="*", type=Path, help="default: results")
    for option, unit, said in (
        ("--max-quality-loss", "POINTS", None),
        ("--max-token-ms", "MS", None),
        ("--max-first-token-ms", "MS", None),
        ("--max-memory-gb", "GB", None),
        ("--requests-per-day", "N", None),
        ("--rate", "R", "requests per second, in its place"),
        ("--ttft-ms", "MS", "at that rate, to the first token"),
        ("--tpot-ms", "MS", "at that rate, for each later token"),
    ):
        advise.add_argument(option, metavar=unit, help=said)
    advise.add_argument(
        "--devices", action="store_true", help="how many serve the rate within these limits"
    )
    advise.add_argument("--country", metavar="CODE", help="such as FRA, USA or WORLD")
    advise.add_argument("--model", default="", help="only models whose name holds this")
    advise.add_argument("--device", default="", help="only devices whose name holds this")
    advise.add_argument("--impact", nargs="+", default=[], metavar="KEY=VALUE",
                        help="other assumptions than conf/impact's, such as pue=1.2")  # fmt: skip
    advise.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    advise.set_defaults(command=_advise)


def _advise(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.impact import assumptions

    wanted = _wanted(arguments)
    country = [f"country={arguments.country}"] if arguments.country else []
    impact, results = impact_of(arguments)
    given = assumptions([*country, *impact])
    for path in results:
        if path.is_file():
            raise UserError(f"{path} is not a directory: give the results directory of a bench.")
    records = loaded(results, required=False)  # what to run first is an advice too
    answer = _devices if arguments.devices else _choice
    say(analysed(records, lambda kept: answer(kept, wanted, given, arguments)))
    return 0


def _wanted(arguments: argparse.Namespace) -> Needs:
    from greenbench.analysis.choices.needs import needs

    if arguments.devices and arguments.rate is None:
        raise UserError(
            "--devices needs the rate to be served: give --rate, in requests per second."
        )
    return needs(
        {
            "quality_loss": arguments.max_quality_loss,
            "token_ms": arguments.max_token_ms,
            "first_token_ms": arguments.max_first_token_ms,
            "memory_gb": arguments.max_memory_gb,
            "requests_per_day": arguments.requests_per_day,
            "rate": arguments.rate,
            "ttft_ms": arguments.ttft_ms,
            "tpot_ms": arguments.tpot_ms,
        }
    )


def _choice(
    records: list[Record], wanted: Needs, given: Assumptions, arguments: argparse.Namespace
) -> str:
    from greenbench.analysis.choices.advice import advise
    from greenbench.analysis.training.table import by_budget, of_place
    from greenbench.report.markdown.advice import as_json, as_markdown, as_text

    place = {"model": arguments.model, "device": arguments.device}
    advices = advise(records, wanted, given, **place)
    formats = {"text": as_text, "markdown": as_markdown, "json": as_json}
    return formats[arguments.format](advices, wanted, given, of_place(by_budget(records), **place))


def _devices(
    records: list[Record], wanted: Needs, given: Assumptions, arguments: argparse.Namespace
) -> str:
    from greenbench.analysis.choices.advice import chosen
    from greenbench.analysis.choices.fleet import Demand, first_command, fleets
    from greenbench.report.markdown.fleet import as_json, as_markdown, as_text

    demand = Demand(wanted.rate or 0.0, wanted.within)
    groups = chosen(records, model=arguments.model, device=arguments.device)
    formats = {"text": as_text, "markdown": as_markdown, "json": as_json}
    found, first = fleets(groups, demand, given), first_command(groups, demand)
    return formats[arguments.format](found, demand, given, first)
