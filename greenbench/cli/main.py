"""The commands: bench, report, compare, advise, export, doctor."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from greenbench import __version__
from greenbench.cli.read import add_advise, add_export
from greenbench.errors import UserError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

BENCH_HELP = """\
Measure what efficiency techniques save: accuracy, latency and joules per token of a model with a
technique, against the same model without, side by side in one run.

  greenbench bench technique=int8_bnb                    one run
  greenbench bench --multirun technique=none,int8_bnb    a sweep of two
  greenbench bench --multirun +experiments=smoke         a sweep that comes with GreenBench
  greenbench bench 'technique=[prune_depth,int8_bnb]'    a stack, applied in this order
  greenbench bench model=hub model.id=Qwen/Qwen3-0.6B    any causal language model of the hub

What is done already is not run again. Records go to results/records/, the report is
results/leaderboard.md, results/frontier.svg and results/index.html. Overrides are Hydra's:
GROUP=OPTION chooses a file of values, KEY=VALUE changes one value (greenbench bench --cfg shows
them all).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 well, 1 a run failed, 2 a mistake in the call."""
    arguments = _parse(argv)
    try:
        status: int = arguments.command(arguments)
    except UserError as error:
        print(f"greenbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "greenbench: interrupted; finished runs are kept, the same command goes on.",
            file=sys.stderr,
        )
        return 130
    return status


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options and overrides in any order, which argparse alone does not allow."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if "overrides" not in arguments or any(word.startswith("-") for word in rest):
        parser.parse_args(argv)  # says what is wrong
    else:
        arguments.overrides += rest
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "greenbench",
        description="What efficiency techniques really save on real language models: "
        "accuracy, latency and joules per token.",
    )
    parser.add_argument("--version", action="version", version=f"greenbench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_bench, _add_report, _add_compare, add_advise, add_export, _add_doctor):
        add(commands)
    return parser


def _add_bench(commands: Commands) -> None:
    sweep = commands.add_parser(
        "bench",
        help="measure techniques on a model and write the leaderboard",
        description=BENCH_HELP,
        epilog=_choices() if _asks_for_bench_help() else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument("overrides", nargs="*", metavar="GROUP=OPTION | KEY=VALUE")
    sweep.add_argument(
        "-m", "--multirun", action="store_true", help="run every combination of the values given"
    )
    sweep.add_argument(
        "--cfg", action="store_true", help="print the composed configuration and stop"
    )
    sweep.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="your own config groups, like conf/"
    )
    sweep.set_defaults(command=_bench)


def _add_report(commands: Commands) -> None:
    report = commands.add_parser(
        "report",
        help="rebuild the leaderboard from the records",
        description="Rebuild leaderboard.md, index.html and the figures from the records of one or "
        "several results directories. "
        "Nothing is measured; the same records always give the same bytes.",
    )
    report.add_argument(
        "results", nargs="*", type=Path, default=[Path("results")], help="default: results"
    )
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
        "--margin",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="of accuracy within which two models are called equivalent (default: 1)",
    )
    report.add_argument(
        "--schema", action="store_true", help="print the records' JSON Schema and stop"
    )
    report.set_defaults(command=_report)


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="say what changed from one run or results directory to another",
        description="Compare two records, or the runs that two results directories share: energy "
        "and time per token as ratios to each run's own baseline, bytes, and quality on the items "
        "that both answered.",
    )
    compare.add_argument("a", type=Path, metavar="A", help="a record or a results directory")
    compare.add_argument("b", type=Path, metavar="B", help="another")
    compare.add_argument(
        "--fail-on",
        nargs="+",
        default=[],
        metavar="LIMIT",
        help="exit with 1 where B is shown beyond it: 'energy>+3%%', 'time>+5%%', 'quality<-1'",
    )
    compare.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    compare.set_defaults(command=_compare)


def _add_doctor(commands: Commands) -> None:
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
    examine.set_defaults(command=_doctor)


def _asks_for_bench_help() -> bool:
    return "bench" in sys.argv and bool({"-h", "--help"} & set(sys.argv))


def _choices() -> str:
    from greenbench.campaign.options import experiments, options

    groups = ("model", "technique", "task", "workload", "meter", "protocol")
    lines = [f"  {group:10}  {', '.join(options(group))}" for group in groups]
    return "\n".join(
        ["groups and their options:", *lines, f"  {'experiments':10} {', '.join(experiments())}"]
    )


def _bench(arguments: argparse.Namespace) -> int:
    from greenbench.campaign import sweep
    from greenbench.campaign.compose import plan, resolved_yaml

    jobs = plan(arguments.overrides, multirun=arguments.multirun, config_dir=arguments.config_dir)
    if arguments.cfg:
        print("---\n".join(resolved_yaml(job) for job in jobs), end="")
        return 0
    return sweep.sweep(jobs)


def _report(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for small matrices others only wait
    gc.disable()  # records hold no cycles, and looking for some takes a tenth of a report's time
    from greenbench import report
    from greenbench.analysis.impact import assumptions
    from greenbench.schema.record import json_schema

    if arguments.schema:
        print(json.dumps(json_schema(), indent=1))
        return 0
    for results in arguments.results:
        if not results.is_dir():
            raise UserError(
                f"{results} is not a directory: give the results directory of a bench, "
                "or run `greenbench bench` first."
            )
    output = arguments.output or arguments.results[0]
    if arguments.output is None and len(arguments.results) > 1:
        raise UserError("Several results directories: say where the report goes with -o DIR.")
    if not 0 < arguments.margin < 100:
        raise UserError(
            f"--margin={arguments.margin:g} is no margin: give points above 0, such as 1."
        )
    given = assumptions(arguments.impact)
    for path in report.rebuild(arguments.results, output, given, arguments.margin):
        print(path)
    gc.freeze()  # else the interpreter's last act is to look for cycles among all records
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from greenbench.analysis.choices import comparison
    from greenbench.records.store import load
    from greenbench.report.markdown.comparison import as_markdown, as_text

    limits = [comparison.parse_limit(text) for text in arguments.fail_on]
    sides = []
    for path in (arguments.a, arguments.b):
        if not path.exists():
            raise UserError(f"{path} does not exist: give a record or a results directory.")
        sides.append(load([path]).records)
    found = comparison.pairings(*sides)
    complaints = comparison.broken(found, limits)
    formats = {
        "text": as_text,
        "markdown": as_markdown,
        "json": comparison.as_json,
    }
    print(formats[arguments.format](found, complaints))
    return int(bool(complaints))


def _doctor(arguments: argparse.Namespace) -> int:
    from greenbench.doctor import examine

    if arguments.calibrate:
        from greenbench.doctor.calibrate import calibrate

        calibrate(lambda text: print(text, file=sys.stderr, flush=True))
    findings = examine.examine()
    print(json.dumps(findings, indent=1) if arguments.json else examine.as_text(findings))
    return 0
