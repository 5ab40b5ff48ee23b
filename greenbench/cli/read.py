"""The commands that only read records, and what they share: report, compare, export."""

from __future__ import annotations

import argparse
import gc
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from greenbench import api
from greenbench.cli.terminal import say
from greenbench.errors import UserError
from greenbench.wording import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenbench.analysis.impact import Assumptions
    from greenbench.records.store import Rejected
    from greenbench.schema.record import Record

NAMED = 8
"""Files that are no records, of which each is named."""
Found = TypeVar("Found")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_report(commands: Commands) -> None:
    """The command ``report``."""
    report = commands.add_parser(
        "report",
        help="rebuild the leaderboard from the records",
        description="Rebuild leaderboard.md, index.html and the figures from the records of one or "
        "several results directories. "
        "Nothing is measured; the same records always give the same bytes.",
    )
    report.add_argument("results", nargs="*", type=Path, help="default: results")
    report.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="default: the results directory itself"
    )
    report.add_argument(
        "--impact",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="other assumptions than conf/impact's, such as country=FRA pue=1.2",
    )
    report.add_argument(
        "--grid-by-hour",
        type=Path,
        metavar="FILE",
        help="a CSV of carbon intensity (and PUE) by the hour, as Electricity Maps and WattTime export it: "
        "what a load that can wait saves in the cleanest hours",
    )
    report.add_argument(
        "--tokens-served",
        type=float,
        metavar="N",
        help="over a model's life: all joules of its preparation or training and of so many tokens",
    )
    report.add_argument(
        "--margin",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="of accuracy within which two models are called equivalent (default: 1)",
    )
    report.add_argument(
        "--sort",
        default="question",
        metavar="ORDER",
        help="of the rows: question (the best that lose at most a point first, the default), energy, speed, "
        "quality, frontier or name",
    )
    report.add_argument(
        "--pool-devices",
        action="store_true",
        help="take runs that differ in nothing but the device for sessions of one, labelled so",
    )
    report.add_argument(
        "--schema", action="store_true", help="print the records' JSON Schema and stop"
    )
    report.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        from greenbench.schema.record import json_schema

        say(json.dumps(json_schema(), indent=1))
        return 0
    impact, results = impact_of(arguments)
    if arguments.output is None and len(results) > 1:
        raise UserError("Several results directories: say where the report goes with -o DIR.")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for small matrices others only wait
    gc.disable()  # records hold no cycles, and looking for some takes a tenth of a report's time
    for path in api.report(
        results,
        output=arguments.output,
        impact=impact,
        margin=arguments.margin,
        sort=arguments.sort,
        pool_devices=arguments.pool_devices,
        grid_by_hour=arguments.grid_by_hour,
        tokens_served=arguments.tokens_served,
    ):
        say(path)
    gc.freeze()  # else the interpreter's last act is to look for cycles among all records
    return 0


def add_compare(commands: Commands) -> None:
    """The command ``compare``."""
    compare = commands.add_parser(
        "compare",
        help="say what changed from one run or results directory to another",
        description="Compare two records, or the runs that two results directories share: energy "
        "and time per token as ratios to each run's own baseline, bytes, and quality on the items "
        "that both answered; of trainings, joules to the baseline's last loss.",
    )
    compare.add_argument(
        "runs", nargs="*", type=Path, metavar="A B", help="two records, or two results directories"
    )
    compare.add_argument(
        "--fail-on",
        nargs="+",
        default=[],
        metavar="LIMIT",
        help="exit with 1 where B is shown beyond it, with 3 where that cannot be judged, and with 2 where "
        "the runs lack its number: 'energy>+3%%', 'solved>+3%%', 'target>+3%%' (of trainings), 'time>+5%%', "
        "'bytes>+1%%', 'quality<-1'",
    )
    compare.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    compare.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.choices.comparison import as_json
    from greenbench.analysis.choices.regression import checked, parse_limit
    from greenbench.report.markdown.comparison import as_markdown, as_text

    fail_on, runs = _apart(arguments.fail_on, arguments.runs, "<>")
    limits = [parse_limit(text) for text in fail_on]
    if len(runs) != 2:
        raise UserError(
            f"compare takes two records or two results directories, and here are {len(runs)}: write "
            "greenbench compare A B."
        )
    first, second = loaded(runs[:1]), loaded(runs[1:])
    pairs = api.compare(first, second)
    _not_used(pairs.rejected)
    found = checked(pairs, limits)
    formats = {"text": as_text, "markdown": as_markdown, "json": as_json}
    say(formats[arguments.format](pairs, *found))
    return found.status


def _apart(words: list[str], paths: list[Path], marks: str) -> tuple[list[str], list[Path]]:
    """An option's `words` and the paths, among which those that the option has swallowed: what is
    there, and has none of the `marks` in it."""
    swallowed = [word for word in words if not set(marks) & set(word) and Path(word).exists()]
    return [word for word in words if word not in swallowed], [*paths, *map(Path, swallowed)]


def impact_of(arguments: argparse.Namespace) -> tuple[list[str], list[Path]]:
    """The assumptions, and the results directories."""
    impact, results = _apart(arguments.impact, arguments.results, "=")
    return impact, results or [Path("results")]


def loaded(paths: list[Path], *, required: bool = True) -> list[Record]:
    """All records of `paths`, which may call one as reports do; names the files that are none. Raises
    UserError where there are none, unless nothing was `required`."""
    from greenbench.analysis.trust.checked import look
    from greenbench.records.named import meant
    from greenbench.records.store import require_records

    paths = [meant(path, look) for path in paths]
    records = api.load(*paths)
    if required or records.rejected:
        require_records(paths, records, records.rejected)
    _not_used(records.rejected)
    return records


def analysed(records: list[Record], analyse: Callable[[list[Record]], Found]) -> Found:
    """What `analyse` makes of the records; names those that it fails on, and leaves them out."""
    from greenbench.analysis.trust.guard import guarded

    found, failed = guarded(records, lambda kept, failed: (analyse(kept), failed))
    _not_used(failed)
    return found


def _not_used(rejected: Sequence[Rejected]) -> None:
    for name, reason in rejected[:NAMED]:
        say(f"greenbench: {plain(name, 80)} is not used: {plain(reason)}", error=True)
    if len(rejected) > NAMED:
        more = len(rejected) - NAMED
        say(
            f"greenbench: {more} more files are not used; `greenbench report` names all.",
            error=True,
        )


def add_export(commands: Commands) -> None:
    """The command ``export``."""
    long_table = commands.add_parser(
        "export",
        help="the runs' numbers as CSV, Parquet or a section of a model card",
        description="Write every number of the runs with its unit, interval, n, provenance or "
        "reason, one a line, as CSV or Parquet; or one run as a section of a model card, with the "
        "hub's co2_eq_emissions metadata.",
    )
    long_table.add_argument("results", nargs="*", type=Path, help="default: results")
    long_table.add_argument("--format", choices=("csv", "parquet", "model-card"), default="csv")
    long_table.add_argument(
        "--run",
        metavar="KEY",
        help="only this run, as it stands in the column key; its first digits suffice",
    )
    long_table.add_argument("--impact", nargs="+", default=[], metavar="KEY=VALUE",
                        help="assumptions of the model card, such as country=FRA")  # fmt: skip
    long_table.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
    long_table.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.impact import assumptions
    from greenbench.records.store import told_apart

    impact, results = impact_of(arguments)
    given = assumptions(impact)
    key = arguments.run
    if key is not None and not key.strip():
        raise UserError("--run is empty: give a record's key, or its first digits.")
    records = loaded(results)
    names = told_apart(records)
    chosen = [record for record in records if names[id(record)].startswith(key or "")]
    if not chosen:
        raise UserError(f"No record's key starts with {key}: the keys are the records' file names.")
    if arguments.format == "parquet" and arguments.output is None:
        raise UserError("Parquet is binary: say where it goes with -o FILE.")
    content = analysed(chosen, lambda kept: _exported(arguments.format, kept, given))
    put(content, arguments.output)
    return 0


def _exported(form: str, chosen: list[Record], given: Assumptions) -> bytes:
    from greenbench.report.exports import long_table
    from greenbench.report.exports.model_card import model_card

    if form == "csv":
        return long_table.as_csv(long_table.lines(chosen))
    if form == "parquet":
        return long_table.as_parquet(long_table.lines(chosen))
    completed = [r for r in chosen if r.status == "completed" and r.training is None]
    if len(completed) != 1:
        from greenbench.records.store import told_apart

        names = told_apart(chosen)
        keys = ", ".join(f"{names[id(record)]} ({record.name})" for record in completed[:8])
        raise UserError(
            f"A model card is about one completed run, and here are {len(completed)}: choose one "
            f"with --run KEY{f', of {keys}' if keys else ''}."
        )
    return model_card(completed[0], given).encode()


def put(content: bytes, output: Path | None, option: str = "-o") -> None:
    """Write `content` where `option` says, or print it. Raises UserError."""
    from greenbench.files import write_atomically

    if output is None:
        say(content.decode(), end="")
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, content)
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}): choose another file with {option}."
        ) from error
    say(output)
