"""Every number of the runs as a table for other programs: CSV and Parquet.

Long form, one line for each run and number. A number here is never alone: it has a unit, an
interval, n, a provenance, or a reason for what is missing. In wide form each of them would be a
column for each number, hundreds of them, other ones for every sweep's tasks; a long table is as
wide for all, and one pivot away from a wide one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from greenbench.analysis import accuracy
from greenbench.analysis.energy.promises import break_even, prepare_energy
from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import Row, groups, technique
from greenbench.analysis.training.table import Recipe, by_budget
from greenbench.records.store import told_apart
from greenbench.schema.metrics import ENERGY_TO_TARGET
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.traffic import LoadCurve
from greenbench.schema.verdict import Verdict
from greenbench.wording import visible

FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the start of a formula (OWASP, CSV injection)."""


class Run(NamedTuple):
    """The run that a number is of."""

    key: str
    """What its record goes by: of several with one key, each has its content's hash behind it."""
    technique: str
    model: str
    device: str
    workload: str
    tasks: str
    tier: str
    status: str
    validity: str
    codes: str
    started_at: str
    command: str


class Number(NamedTuple):
    """One number of a run. What a record lacks is null, never 0."""

    metric: str
    """Name, with the unit of a level at its end (``energy_per_token_j``); at a load, that behind an ``@``."""
    of: str
    """Whose: baseline, candidate, ratio (candidate over baseline), change (minus), run."""
    task: str | None
    value: float | None
    unit: str
    low: float | None
    """95 % interval."""
    high: float | None
    n: int
    provenance: str
    reason: str | None
    """Why the value or its interval is missing."""
    verdict: str | None
    """Of a ratio, after Holm over its group."""
    p_holm: float | None


Line: TypeAlias = tuple[Run, Number]
COLUMNS: Final = (*Run._fields, *Number._fields)
KINDS: Final = {
    "value": "double",
    "low": "double",
    "high": "double",
    "p_holm": "double",
    "n": "int64",
}
"""Of Parquet's columns; all others are strings."""


def lines(records: Sequence[Record]) -> Iterator[Line]:
    """All numbers of all runs, in an order that does not depend on that of `records`.

    A run without a result has one line, whose reason says why; an invalid one has its numbers, and
    no verdicts.
    """
    rows = {id(row.record): row for group in groups(records) for row in group.rows}
    names = told_apart(records)
    trained = {id(each.record): each for budget in by_budget(records) for each in budget.recipes}
    left_out = [
        Row(record, technique(record), among=names[id(record)], verdicts=_of(trained, record))
        for record in records
        if id(record) not in rows
    ]
    found = [(_run(row), row) for row in (*rows.values(), *left_out)]
    for run, row in sorted(found, key=itemgetter(0)):
        for number in _numbers(row):
            yield run, number


def _of(trained: Mapping[int, Recipe], record: Record) -> dict[str, Verdict]:
    """The verdict on a run that trained, judged over those of its budget."""
    found = trained[id(record)].verdict if id(record) in trained else None
    return {ENERGY_TO_TARGET.ratio: found} if found else {}


def _run(row: Row) -> Run:
    record = row.record
    here = setting(record)
    return Run(
        row.name, technique(record), here.model, here.device, here.asked, here.tasks, here.tier,
        record.status, record.validity, " ".join(record.codes), record.started_at, record.command,
    )  # fmt: skip


def _number(
    metric: str, of: str, found: Quantity, task: str | None = None, verdict: Verdict | None = None
) -> Number:
    judged = (verdict.verdict, verdict.p_adjusted) if verdict else (None, None)
    return Number(
        metric, of, task, found.value, found.unit, found.low, found.high, found.n,
        found.provenance, found.reason, *judged,
    )  # fmt: skip


def _numbers(row: Row) -> Iterator[Number]:
    record = row.record
    if record.failure is not None:
        why = f"{record.failure.reason}: {record.failure.message}"
        yield _number("result", "run", missing("none", why))
        return
    yield from _levels("baseline", row.baseline)
    yield from _levels("candidate", row.metrics)
    for name, ratio in sorted(record.ratios.items()):
        yield _number(name, "ratio", ratio, verdict=row.verdicts.get(name))
    if record.load:
        yield from _under_load(record.load)
    yield from _quality(row)
    if record.techniques:
        yield _number("preparation_j", "candidate", prepare_energy(row))
        yield _number("break_even_tokens", "candidate", break_even(row))
    for name, power in sorted(record.idle.items()):
        yield _number(f"idle_{name}_w", "run", power)
    if row.standing:
        yield _number("frontier_probability", "run", _probability(row.standing.probability))


def _levels(of: str, metrics: Mapping[str, Quantity]) -> Iterator[Number]:
    for name, found in sorted(metrics.items()):
        yield _number(name, of, found)


def _under_load(curve: LoadCurve) -> Iterator[Number]:
    """Each load's numbers, as ``energy_per_request_j@2``, and what follows from all of them."""
    for point in curve.points:
        at = f"@{point.load:g}"
        for of, found in (
            ("baseline", point.baseline.metrics),
            ("candidate", point.candidate.metrics),
            ("ratio", point.ratios),
        ):
            yield from _levels(of, {f"{name}{at}": each for name, each in found.items()})
    for who, most in sorted(curve.capacity.items()):
        yield _number("capacity", who, most.load)
        yield _number("energy_per_request_at_capacity_j", who, most.energy_per_request)
    yield _number("crossing", "run", curve.crossing.load)
    yield _number("correlation_s", "run", curve.correlation_s)


def _quality(row: Row) -> Iterator[Number]:
    """Each task, then all items of accuracy tasks together."""
    found = row.record.quality
    for score in sorted(found, key=lambda score: (score.task, score.metric)):
        yield _number(score.metric, "baseline", score.baseline, score.task)
        yield _number(score.metric, "candidate", score.candidate, score.task)
        yield _number(score.metric, "change", score.change, score.task)
    yield _number("accuracy_percent", "baseline", accuracy.baseline_accuracy(found))
    yield _number("accuracy_percent", "candidate", row.quality)
    yield _number("accuracy_points", "change", row.change)


def _probability(share: float) -> Quantity:
    return Quantity(
        value=share, unit="share", provenance="measured:score",
        reason="a share of resampled frontiers has no interval of its own",
    )  # fmt: skip


def as_csv(found: Iterable[Line]) -> bytes:
    """UTF-8 with a header; text that a spreadsheet would run as a formula starts with an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for run, number in found:
        cells = (*run, *number)
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    return file.getvalue().encode()


def harmless(text: str) -> str:
    """One line of visible text that no spreadsheet takes for a formula."""
    line = visible(text)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line


def as_parquet(found: Iterable[Line]) -> bytes:
    """Typed columns of the same table; text as it is in the records."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, KINDS.get(name, "string")) for name in COLUMNS])
    lines = [dict(zip(COLUMNS, (*run, *number), strict=True)) for run, number in found]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(lines, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
