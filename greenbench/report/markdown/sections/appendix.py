"""The rest of the leaderboard: what failed, how it was measured, where, and how to do it again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenbench.analysis.groups.comparable import hardware, setting
from greenbench.analysis.groups.rows import Group, is_invalid, technique
from greenbench.records.upgrades import LIFTED, NOTE
from greenbench.report.markdown.format import Column, code, fenced, folded, prose, table, titled
from greenbench.report.markdown.sections.codes import explained
from greenbench.report.markdown.sections.method import how_measured
from greenbench.report.markdown.sections.promises import preparation, promised
from greenbench.schema.record import Record
from greenbench.wording import plain

if TYPE_CHECKING:
    from greenbench.records.store import Rejected

STAGES = (
    "start",
    "load",
    "prepare",
    "score",
    "idle",
    "warmup",
    "tune",
    "train",
    "measure",
    "solve",
    "difficulty",
    "finish",
)
USEFUL = STAGES[1:-1]


def appendix(
    groups: Sequence[Group], records: Sequence[Record], rejected: Sequence[Rejected]
) -> list[str]:
    """Every section after the tables; sections with nothing to say are left out."""
    records = sorted(records, key=lambda record: (record.name, record.key, record.started_at))
    return [
        *_invalid(records),
        *_without_result(records),
        *_upgraded(records),
        *_rejected(rejected),
        *titled("Preparation, and when it pays back", _behind("Of each run", preparation(groups))),
        *titled("Promised and realised", promised(groups)),
        *titled("How it was measured", _behind("The rules", how_measured(groups))),
        *_wall_time(records),
        *_environment(records),
        *_reproduce(groups, records),
    ]


def _invalid(records: Sequence[Record]) -> list[str]:
    lines = [
        f"- {_where(record)}: {explained(record)}." for record in records if is_invalid(record)
    ]
    if lines:
        said = "Measured, but disturbed: they are in no answer, table, frontier or figure."
        lines = [said, "", *lines]
    return titled("Invalid runs", lines)


def _without_result(records: Sequence[Record]) -> list[str]:
    lines: list[str] = []
    tails: list[str] = []
    for record in records:
        if record.failure is None:
            continue
        failure = record.failure
        stage = f" in stage {prose(failure.phase)}" if failure.phase else ""
        cause = "" if failure.reason == record.status else f", {prose(failure.reason)}"
        lines.append(
            f"- {_where(record)}: **{record.status}{cause}**{stage}: {prose(failure.message)}"
        )
        if failure.log_tail and failure.reason not in SAID_ALL:
            tails += [f"Run {_where(record)}:", "", *fenced(failure.log_tail), ""]
    if tails:
        lines += ["", *folded("Last lines of their output", tails)]
    return titled("Runs without a result", lines)


SAID_ALL = ("user_error", "unsupported")
"""Failures whose sentence is all there is to know: what else was printed says nothing to a user."""


def _where(record: Record) -> str:
    place = setting(record)
    return f"{code(technique(record))}, {prose(place.title)}, tier {prose(place.tier)}"


def _upgraded(records: Sequence[Record]) -> list[str]:
    """Records that lack something for their age; those that are only spelt anew are as good as any."""
    lines = [
        f"- {_where(record)}: {prose('; '.join(said))}."
        for record in records
        if (said := [str(w) for w in record.environment.get(NOTE, ()) if w != LIFTED])
    ]
    if lines:
        head = "Written by an earlier GreenBench, and brought to the present schema as it was read."
        lines = [head, "", *lines]
    return titled("Upgraded records", lines)


def _rejected(rejected: Sequence[Rejected]) -> list[str]:
    return titled(
        "Files that are not records",
        [f"- {code(name)}: {prose(reason)}" for name, reason in sorted(rejected)],
    )


def _wall_time(records: Sequence[Record]) -> list[str]:
    """Of completed runs only: of the others no one knows how far they came."""
    completed = (record.stages_s for record in records if record.status == "completed")
    timed = [stages for stages in completed if stages.get("total")]
    total_s = sum(stages["total"] for stages in timed)
    if not total_s:
        return []
    seconds = {stage: sum(stages.get(stage, 0.0) for stages in timed) for stage in STAGES}
    rest_s = total_s - sum(seconds[stage] for stage in USEFUL)
    said = (
        "Outside loading, preparing, scoring and measuring (warm-up, answers by difficulty and idle windows "
        "count as measuring): "
        f"{rest_s:.1f} of {total_s:.1f} s, {100 * rest_s / total_s:.1f} %."
    )
    columns: list[Column[str]] = [
        Column("stage", lambda stage, _: stage),
        Column(f"seconds in {len(timed)} runs", lambda stage, _: f"{seconds[stage]:.1f}"),
        Column("share", lambda stage, _: f"{100 * seconds[stage] / total_s:.1f} %"),
    ]
    taken = [stage for stage in STAGES if any(stage in stages for stages in timed)]
    return titled(
        "Where the wall time went", [said, "", *folded("By stage", table(taken, columns))]
    )


def _environment(records: Sequence[Record]) -> list[str]:
    """Facts per device; a fact on which its runs differ shows every value with its runs counted."""
    by_device: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.environment:
            by_device[hardware(record)].append(record)
    lines: list[str] = []
    for device in sorted(by_device):
        lines.append(f"- {prose(device)}")
        facts = [_facts(record.environment) for record in by_device[device]]
        for name in sorted({name for fact in facts for name in fact}):
            values = Counter(fact[name] for fact in facts if name in fact)
            lines.append(f"  - {prose(name)}: {_counted(values)}")
    return titled("Environment", _behind("Of each device", lines))


def _behind(summary: str, lines: Sequence[str]) -> list[str]:
    return folded(summary, lines) if lines else []


def _counted(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({count} runs)" for value, count in sorted(values.items()))


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    facts = {str(name): value for name, value in environment.items() if name != NOTE}
    return {name: prose(_flat(value), 1000) for name, value in facts.items()}


def _flat(value: Any) -> str:
    """A JSON value in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(value[name])}" for name in sorted(value)) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(map(_flat, value)) or "none"
    return "unknown" if value is None else str(value)


def _reproduce(groups: Sequence[Group], records: Sequence[Record]) -> list[str]:
    lines: list[str] = []
    for index, group in enumerate(groups, start=1):
        lines += [f"{index}. {prose(group.setting.title)}", ""]
        lines += [*fenced(_commands((row.label, row.record) for row in group.rows)), ""]
    for title, chosen in (
        ("Invalid runs", filter(is_invalid, records)),
        ("Runs without a result", (record for record in records if record.failure)),
    ):
        commands = _commands((technique(record), record) for record in chosen)
        lines += [title, "", *fenced(commands), ""] if commands else []
    return titled("How to reproduce each line", folded("Commands", lines) if lines else [])


def _commands(rows: Iterable[tuple[str, Record]]) -> list[str]:
    return [line for label, record in rows for line in (f"# {plain(label)}", record.command)]
