"""``leaderboard.md``: the answer first, then one section per model, device and workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from greenbench.quantities import Quantity
from greenbench.records import Record, TaskScore
from greenbench.report import appendix, scores
from greenbench.report.answer import answer, noise_floor
from greenbench.report.rows import Group, Row
from greenbench.report.text import (
    ESTIMATE,
    TIMES,
    TO,
    Column,
    Notes,
    code,
    estimated,
    fixed,
    folded,
    named,
    number,
    only,
    prose,
    scaled,
    show,
    table,
)

if TYPE_CHECKING:
    from greenbench.store import Rejected

FRONTIER = "★ frontier"
NOTED = "†"
HOW_TO_READ = (
    "How to read it:",
    "",
    "- Brackets hold 95 % intervals; a letter in brackets refers to a reason under the table.",
    "- Ratios are candidate over baseline, measured side by side in one run: J/token below "
    f"1{TIMES} is less energy, tokens/s above 1{TIMES} is faster.",
    "- Quality is the share of items answered right over all accuracy tasks; its change is paired "
    "by item.",
    "- ≈ marks an estimate: not a measurement, and never ranked with one.",
    "- ★ marks the frontier: no other run in the table is at least as good in quality and J/token "
    "ratio and better in one of them.",
    "",
)
EMPTY = (
    "There is no completed run yet. `make bench` runs the sweep for this machine and writes this "
    "file again; `greenbench doctor` says what can be measured here."
)


def leaderboard(
    groups: Sequence[Group], records: Sequence[Record], rejected: Sequence[Rejected]
) -> str:
    """The whole document as markdown. `records` hold the runs without a result too."""
    lines = ["# GreenBench leaderboard", "", *_answers(groups), _counts(records, rejected), ""]
    if groups:
        lines += [*HOW_TO_READ, "![Quality against energy per token](frontier.svg)", ""]
    for index, group in enumerate(groups, start=1):
        lines += _section(index, group)
    lines += appendix.appendix(groups, records, rejected)
    return "\n".join(lines).rstrip() + "\n"


def _counts(records: Sequence[Record], rejected: Sequence[Rejected]) -> str:
    by_status: Counter[str] = Counter(record.status for record in records)
    order = ("completed", "failed", "unsupported")
    parts = [f"{by_status[status]} {status}" for status in order if by_status[status]]
    if rejected:
        parts.append(f"{len(rejected)} unreadable")
    return f"Runs: {', '.join(parts) or 'none'}."


def _answers(groups: Sequence[Group]) -> list[str]:
    if not groups:
        return [EMPTY, ""]
    lines: list[str] = []
    for index, group in enumerate(groups, start=1):
        lines.append(
            f"{index}. **{prose(group.setting.title)}** (joules: {prose(group.setting.meter)})"
        )
        lines += [f"   - {sentence}" for sentence in answer(group)]
    return [*lines, ""]


def _section(index: int, group: Group) -> list[str]:
    setting = group.setting
    return [
        f"## {index}. {prose(setting.title)}",
        "",
        f"Tier {prose(setting.tier)}{'' if setting.claims else ': **no claims**'}. "
        f"Joules: {prose(setting.meter)}. Tasks: {prose(setting.tasks)}.",
        "",
        *_baseline(group.rows),
        "",
        *table(group.rows, HEADLINE),
        "",
        *_model_note(group),
        *_noise(group.rows),
        "",
        "**Quality and energy**",
        "",
        *table(group.rows, QUALITY_AND_ENERGY),
        "",
        "**Latency and memory**",
        "",
        *table(group.rows, LATENCY_AND_MEMORY),
        "",
        *_per_task(group.rows),
    ]


def _baseline(rows: Sequence[Row]) -> list[str]:
    """The baseline's own numbers over the runs: each run measured it again."""
    energies = [row.baseline.get("energy_per_token_j") for row in rows]
    values = [energy.value for energy in energies if energy and energy.value]
    mark = ESTIMATE if any(estimated(row.energy) for row in rows) else ""
    qualities = [scores.baseline_accuracy(row.record.quality).value for row in rows]
    parts = [
        f"quality {_range(qualities)} %",
        f"{mark}{_range(values)} J/token",
        f"{_range([_milliseconds(row) for row in rows])} ms per output token (p50)",
    ]
    lines = [f"Baseline, measured again in each run: {', '.join(parts)}."]
    if values and max(values) > 1.02 * min(values):
        drift = fixed(100 * (max(values) / min(values) - 1), 1)
        lines.append(f"Its J/token moved by {drift} % between runs: across rows, compare ratios.")
    return [" ".join([*lines, *_model_bounds(rows)])]


def _model_bounds(rows: Sequence[Row]) -> list[str]:
    """How far off an estimate may be as a whole, which no repetition shows."""
    shares = [
        bound.value / row.energy.value
        for row in rows
        for name in ("energy_per_token_low_j", "energy_per_token_high_j")
        if (bound := row.metrics.get(name)) and bound.value is not None and row.energy.value
    ]
    if not shares:
        return []
    low, high = number(min(shares)), number(max(shares))
    return [f"The estimate's own bounds: true joules may be {low} to {high} times those shown."]


def _milliseconds(row: Row) -> float | None:
    return scaled(named(row.baseline, "tpot_p50_s", "s"), 1e3, "ms").value


def _range(values: Iterable[float | None]) -> str:
    known = sorted({number(value): value for value in values if value is not None}.values())
    if not known:
        return "n/a"
    ends = [number(known[0]), number(known[-1])]
    return TO.join(ends if len(known) > 1 else ends[:1])


def _label(row: Row, _: Notes) -> str:
    noted = row.record.model and row.record.model.note and not row.is_baseline
    return f"{code(row.label)}{f' {NOTED}' if noted else ''}"


def _bits(row: Row, notes: Notes) -> str:
    bits = row.bits_per_byte
    if bits is None:
        return f"n/a {notes.mark('bits per byte was not scored')}"
    return f"{only(bits.candidate, notes)}; {show(bits.change, notes, change=True)}"


def _peak(row: Row, notes: Notes) -> str:
    """Peak memory of the device, or of the host where the device has none of its own."""
    for where in ("device", "host"):
        peak = row.metrics.get(f"{where}_peak_bytes")
        if peak and peak.value is not None:
            return f"{only(scaled(peak, 1e-6, 'MB'), notes)} {where}"
    reason = peak.reason if peak else "the record has no peak memory"
    return f"n/a {notes.mark(reason)}"


def _milli(row: Row, notes: Notes, name: str) -> str:
    return show(scaled(row.metric(name, "s"), 1e3, "ms"), notes)


def _size(row: Row, notes: Notes) -> str:
    ratio = row.ratio("model_bytes")
    share = "" if ratio.value is None else f" ({fixed(ratio.value, 2)}{TIMES})"
    return only(scaled(row.metric("model_bytes", "B"), 1e-6, "MB"), notes) + share


HEADLINE: list[Column[Row]] = [
    Column("technique", _label),
    Column(
        "quality change, points",
        lambda row, notes: show(row.change, notes, change=True, decimals=1),
    ),
    Column(
        "J/token ratio", lambda row, notes: show(row.ratio("energy_per_token"), notes, suffix=TIMES)
    ),
    Column(
        "tokens/s ratio", lambda row, notes: show(row.ratio("tokens_per_s"), notes, suffix=TIMES)
    ),
    Column("frontier", lambda row, _: FRONTIER if row.frontier else ""),
]
QUALITY_AND_ENERGY: list[Column[Row]] = [
    Column("technique", _label),
    Column("quality, %", lambda row, notes: show(row.quality, notes, decimals=1)),
    Column("bits per byte; change", _bits),
    Column("J/token", lambda row, notes: show(row.energy, notes)),
    Column("provenance", lambda row, _: code(row.energy.provenance)),
]
LATENCY_AND_MEMORY: list[Column[Row]] = [
    Column("technique", _label),
    Column("per output token p50, ms", lambda row, notes: _milli(row, notes, "tpot_p50_s")),
    Column("first token p50, ms", lambda row, notes: _milli(row, notes, "ttft_p50_s")),
    Column("model, MB", _size),
    Column("peak memory, MB", _peak),
]


def _model_note(group: Group) -> list[str]:
    """What the model's configuration says its readers must know, under the rows it concerns."""
    notes = {
        row.record.model.note for row in group.rows if row.record.model and row.record.model.note
    }
    lines = [f"{NOTED} {prose(group.setting.model)}: {prose(note)}." for note in sorted(notes)]
    return [*lines, ""] if lines else []


def _noise(rows: Sequence[Row]) -> list[str]:
    floors = [noise_floor(row) for row in rows if row.is_baseline]
    missing = "there is no A/A run here; `technique=none` adds one."
    return [f"Noise floor: {' '.join(floors) or missing}"]


def _per_task(rows: Sequence[Row]) -> list[str]:
    pairs = [(row, score) for row in rows for score in row.record.quality]
    if not pairs:
        return []
    pairs.sort(key=lambda pair: pair[1].task)
    return [*folded("Quality per task", table(pairs, PER_TASK)), ""]


def _task(pair: tuple[Row, TaskScore], _: Notes) -> str:
    score = pair[1]
    unit = ", %" if scores.is_accuracy(score) else ""
    return f"{code(score.task)} {prose(score.metric)}{unit}"


def _level(score: TaskScore, quantity: Quantity, notes: Notes, *, change: bool = False) -> str:
    if scores.is_accuracy(score):
        return show(scaled(quantity, 100, "%"), notes, change=change, decimals=1)
    return show(quantity, notes, change=change)


PER_TASK: list[Column[tuple[Row, TaskScore]]] = [
    Column("task", _task),
    Column("technique", lambda pair, _: code(pair[0].label)),
    Column("baseline", lambda pair, notes: _level(pair[1], pair[1].baseline, notes)),
    Column("candidate", lambda pair, notes: _level(pair[1], pair[1].candidate, notes)),
    Column("change", lambda pair, notes: _level(pair[1], pair[1].change, notes, change=True)),
    Column(
        "items changed", lambda pair, _: f"{scores.changed_items(pair[1])} of {len(pair[1].items)}"
    ),
]
