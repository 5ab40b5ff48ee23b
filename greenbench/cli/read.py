"""The commands that only read records and print: advise, export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from greenbench.errors import UserError

if TYPE_CHECKING:
    from greenbench.analysis.impact import Assumptions
    from greenbench.records.store import Loaded
    from greenbench.schema.record import Record

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
    from greenbench.analysis.choices import advice
    from greenbench.analysis.choices.limits import needs
    from greenbench.analysis.impact import assumptions
    from greenbench.report.markdown.advice import as_json, as_markdown, as_text

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
        "text": as_text,
        "markdown": as_markdown,
        "json": as_json,
    }
    print(formats[arguments.format](found, wanted, given))
    return 0


def loaded(paths: list[Path]) -> Loaded:
    """All records of `paths`. Raises UserError for a path that does not exist."""
    from greenbench.records.store import load

    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist: give a record or a results directory.")
    found = load(paths)
    if found.rejected:
        count = len(found.rejected)
        said = "1 file is" if count == 1 else f"{count} files are"
        print(f"greenbench: {said} not used; `greenbench report` says why.", file=sys.stderr)
    return found


def add_export(commands: Commands) -> None:
    """The command ``export``."""
    long_table = commands.add_parser(
        "export",
        help="the runs' numbers as CSV, Parquet or a section of a model card",
        description="Write every number of the runs with its unit, interval, n, provenance or "
        "reason, one a line, as CSV or Parquet; or one run as a section of a model card, with the "
        "hub's co2_eq_emissions metadata.",
    )
    long_table.add_argument(
        "results", nargs="*", type=Path, default=[Path("results")], help="default: results"
    )
    long_table.add_argument("--format", choices=("csv", "parquet", "model-card"), default="csv")
    long_table.add_argument("--run", metavar="KEY", help="only this run; the first digits suffice")
    long_table.add_argument("--impact", nargs="+", default=[], metavar="KEY=VALUE",
                        help="assumptions of the model card, such as country=FRA")  # fmt: skip
    long_table.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    long_table.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.impact import assumptions

    given = assumptions(arguments.impact)
    records = loaded(arguments.results).records
    key = arguments.run or ""
    chosen = [record for record in records if record.key.startswith(key)]
    if not chosen:
        raise UserError(
            f"No record's key starts with {key}: the keys are the records' file names."
            if records
            else "There is no record to export: run `greenbench bench` first."
        )
    if arguments.format == "parquet" and arguments.output is None:
        raise UserError("Parquet is binary: say where it goes with -o FILE.")
    _put(_exported(arguments.format, chosen, given), arguments.output)
    return 0


def _exported(form: str, chosen: list[Record], given: Assumptions) -> bytes:
    from greenbench.report.exports import long_table
    from greenbench.report.exports.model_card import model_card

    if form == "csv":
        return long_table.as_csv(long_table.lines(chosen))
    if form == "parquet":
        return long_table.as_parquet(long_table.lines(chosen))
    completed = [record for record in chosen if record.status == "completed"]
    if len(completed) != 1:
        keys = ", ".join(f"{record.key} ({record.name})" for record in completed[:8])
        raise UserError(
            f"A model card is about one completed run, and here are {len(completed)}: choose one "
            f"with --run KEY{f', of {keys}' if keys else ''}."
        )
    return model_card(completed[0], given).encode()


def _put(content: bytes, output: Path | None) -> None:
    from greenbench.files import write_atomically

    if output is None:
        sys.stdout.write(content.decode())
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, content)
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}): choose another file with -o."
        ) from error
    print(output)
